"""The stage `train`: one phase of one seed, by gradient steps or in closed form."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from mimflow.artifacts.checkpoint import AVERAGED, MOMENTS, WEIGHTS, TrainFacts, weights_file
from mimflow.artifacts.features import open_features
from mimflow.artifacts.log import VALIDATION, write_log
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.stored_latents import open_latents
from mimflow.compute.devices import peak_memory_mb, resolve
from mimflow.compute.launch import place
from mimflow.compute.memory import memory_errors
from mimflow.compute.processes import World, peer_errors
from mimflow.data.prepared import Prepared, Split
from mimflow.errors import NotFiniteError
from mimflow.objectives.base import ClosedForm, Objective
from mimflow.objectives.health import health_warnings
from mimflow.objectives.registry import OBJECTIVES
from mimflow.progress import Progress
from mimflow.seeds import derive
from mimflow.spec.weights import FileWeights, RunWeights
from mimflow.system.modules import SystemModules, load_weights, parameter_count
from mimflow.tasks import FEATURES_ROLE, LATENTS_ROLE, TrainTask
from mimflow.training.batches import InOrder
from mimflow.training.layers import prepare_layers
from mimflow.training.loop import Splits, Trainer
from mimflow.training.memory import out_of_memory
from mimflow.training.sharding import gathered, shard
from mimflow.training.validation import validate
from mimflow.training.writers import open_writers, require_writers
from mimflow.weights.given import given_file
from mimflow.weights.tensors import not_finite, save_state

OUT_OF_MEMORY = "a larger accumulate, a smaller batch_size, or a smaller system"
"""What to change where memory runs out."""


def run(task: TrainTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> TrainFacts | None:
    """Train, or go on training, and write weights, averages, snapshots and the log below `work/out`.

    None in a process that is not the first of its job.

    Inputs: `data`; `start0`, `start1`, … for weights of other jobs; `features:NAME` for stored features. Raises
    DeviceError, and PlanError for a package that `compute.watch` needs, before anything is read, ArtifactError for
    weights that are missing or do not fit, PeerLostError where another process of the job has ended, and what
    `Trainer.run` raises. Of several processes the first writes.
    """
    device = resolve(task.compute.device)
    require_writers(task.compute.watch)
    torch.set_num_threads(task.compute.threads)
    out = work / "out"
    if place().rank == 0:
        out.mkdir(parents=True, exist_ok=True)
    objective = build_objective(task, inputs)
    prepared = Prepared.open(inputs["data"])
    splits = Splits(*(_with_features(prepared.split(name), name, inputs) for name in ("train", "val")))
    if isinstance(objective, ClosedForm):
        if place().rank:
            return None
        facts = _solve(objective.to(device), task, splits, device, out)
        save_state(objective.state(), out / WEIGHTS)
        return facts
    world = World.join(device)
    with peer_errors(world):
        return _train(objective, task, splits, device, work, progress, inputs, world)


def _with_features(split: Split, name: str, inputs: dict[str, Artifact]) -> Split:
    """A split with what frozen networks, and a frozen tokenizer, have made of its images."""
    stored = {
        role.removeprefix(FEATURES_ROLE): artifact
        for role, artifact in inputs.items()
        if role.startswith(FEATURES_ROLE)
    }
    features = {network: open_features(artifact, name, network) for network, artifact in stored.items()}
    latents = open_latents(inputs[LATENTS_ROLE], name) if LATENTS_ROLE in inputs else {}
    return replace(split, features=features, latents=latents)


def build_objective(task: TrainTask, inputs: dict[str, Artifact]) -> Objective:
    """The phase's objective over the system's modules, on the CPU, with the weights that the phase starts from."""
    torch.manual_seed(derive(task.seed, "system"))
    modules = SystemModules(task.system, task.shapes)
    start = _start_weights(task, inputs)
    if modules.tokenizer is not None and not any(only is None or "tokenizer" in only for _, only in start):
        modules.tokenizer.load_given_weights()
    for path, only in start:
        load_weights(modules, path, only)
    torch.manual_seed(derive(task.seed, "objective"))
    objective: Objective = OBJECTIVES.build(task.phase.objective, modules, task.shapes)
    return objective


def _start_weights(task: TrainTask, inputs: dict[str, Artifact]) -> list[tuple[Path, list[str] | None]]:
    """Files to load one after the other, each with the modules to take from it."""
    references = task.phase.start
    if references is None:  # the phase before, if there is one
        references = [RunWeights()] if "start0" in inputs else []
    found = []
    for index, reference in enumerate(references):
        if isinstance(reference, FileWeights):
            path = given_file(reference, "the weights to start from")
        else:
            path = inputs[f"start{index}"].file(weights_file(reference.ema))
        found.append((path, reference.modules))
    return found


def _train(
    objective: Objective,
    task: TrainTask,
    splits: Splits,
    device: torch.device,
    work: Path,
    progress: Progress,
    inputs: dict[str, Artifact],
    world: World,
) -> TrainFacts | None:
    phase, out, job = task.phase, work / "out", task.job(inputs)
    prepare_layers(objective.system, task.compute)
    if world.size > 1 and task.compute.sharding == "full":
        with memory_errors(out_of_memory(task.phase_name, phase)):
            shard(objective, world, device)
    objective.to(device)
    writers = open_writers(task.compute.watch, progress.label.rpartition(" ")[2], job, task.identity())
    trainer = Trainer(
        objective,
        phase,
        task.phase_name,
        phase.trained,
        splits,
        task.seed,
        device,
        work,
        out,
        progress,
        job,
        world,
        writers,
    )
    if phase.continues:
        trainer.state.continue_from(inputs["start0"])
    val = trainer.run()
    weights, averaged = gathered(objective.state(), world), None
    if trainer.ema is not None:
        averaged = gathered(trainer.state.averaged(), world)
    moments = gathered(trainer.state.moments(), world)
    if not world.first:
        return None
    if trainer.sharded:  # what is looked at from here on is looked at by one process
        objective = build_objective(task, inputs).to(device)
        objective.load_state(weights)
    with memory_errors(out_of_memory(task.phase_name, phase)):
        health = objective.health(trainer.val)
    warnings = health_warnings(health, val)
    for line in warnings:
        progress.warn(f"warning: {line}")
    write_log(out, trainer.log.rows)
    save_state(weights, out / WEIGHTS)
    if averaged is not None:
        save_state(averaged, out / AVERAGED)
    save_state(moments, out / MOMENTS)
    counts: dict[str, int] = {}
    for name, parameter in trainer.parameters.items():
        module = name.split(".", 1)[0]
        counts[module] = counts.get(module, 0) + parameter.numel()
    return TrainFacts(
        parameters=counts | {"total": sum(counts.values())},
        system_parameters=parameter_count(objective.system),
        prior_parameters=_prior_parameters(objective),
        steps=trainer.total,
        epochs=round(trainer.epoch, 4),
        lr=trainer.last_lr,
        skipped=trainer.skipped,
        final={
            name: value
            for name, value in trainer.log.rows[-1].items()
            if name not in ("step", "epoch", "lr") and not name.startswith(VALIDATION)
        },
        val=val,
        snapshots=trainer.snapshot_figures,
        health=health,
        warnings=warnings,
        seconds=round(trainer.seconds, 2),
        images_per_second=round(trainer.total * phase.batch_size / trainer.seconds, 1),
        peak_memory_mb=round(peak_memory_mb(device), 1),
        device=device.type,
        processes=world.size,
    )


def _prior_parameters(objective: Objective) -> int | None:
    prior = objective.system.prior
    return parameter_count(prior) if prior is not None else None


def _solve(objective: ClosedForm, task: TrainTask, splits: Splits, device: torch.device, out: Path) -> TrainFacts:
    began = time.monotonic()
    size = task.phase.batch_size // task.phase.accumulate
    objective.eval()
    with memory_errors(out_of_memory(task.phase_name, task.phase)):
        objective.fit(InOrder(splits.train, size, device))
        broken = not_finite(objective.state())
        if broken is not None:
            raise NotFiniteError(f"phase '{task.phase_name}': {broken} is not finite as it is solved in closed form")
        figures = {
            name: validate(objective, InOrder(split, size, device), "system", task.seed, task.phase.precision)
            for name, split in (("final", splits.train), ("val", splits.val))
        }
    write_log(out, [{"step": 0, **{name: value for name, value in figures["final"].items() if value is not None}}])
    return TrainFacts(
        parameters={"total": 0},
        system_parameters=parameter_count(objective.system),
        prior_parameters=_prior_parameters(objective),
        steps=0,
        epochs=1.0,
        final=figures["final"],
        val=figures["val"],
        seconds=round(time.monotonic() - began, 2),
        peak_memory_mb=round(peak_memory_mb(device), 1),
        device=device.type,
    )
