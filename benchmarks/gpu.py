"""What one GPU gives for the papers' systems: `python benchmarks/gpu.py`, a few minutes on one of 80 GB.

Training: images a second, memory beside what `mimflow plan --memory` says, and the share of the device's peak that the
model's own arithmetic reaches (peak: the best that a large bf16 matrix product reaches on this device, measured here).
Guided sampling: images a second, in the output's precision and in bf16, against the plain way of
`benchmarks/sampling.py` where that has the rule. And whether the GPU's samples are the CPU's. Frozen networks, whose
weights nobody has here, are left out of the losses.

`--twins` runs the same code on the small twins, on a CPU, in a minute.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sampling import plain_inverse
from torch.utils.flop_counter import FlopCounterMode

from mimflow.api.specs import composed
from mimflow.compute.devices import autocast, peak_memory_mb
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Split
from mimflow.nn.draws import Draws
from mimflow.nn.stepper import keeping_steppers
from mimflow.objectives.base import Batch
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.priors.base import GuidablePrior
from mimflow.priors.guidance.rules import guidance_rule
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.tarflow.model import Tarflow
from mimflow.products.registry import open_workspace
from mimflow.progress import Progress
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Workspace
from mimflow.stages.train import build_objective
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes
from mimflow.tasks import TrainTask
from mimflow.training.footprint import footprint
from mimflow.training.layers import prepare_layers
from mimflow.training.loop import Splits, Trainer

REPOSITORY = Path(__file__).resolve().parents[1]
LOSSES_WITHOUT_NETWORKS = ("perceptual", "alignment", "auxiliary")
STEPS = 10_000
"""Of the phase, most of which are never made: as in a real one, few steps end a row of the log."""
WARM_UP = 3
"""Steps that are not counted."""


class Case(NamedTuple):
    run: str
    phase: str
    batch: int
    """Images of a step."""
    part: int
    """Of them, those of which a loss is computed at a time: what fits."""
    sampled: tuple[int, ...]
    """Batches that are sampled."""
    output: str = "guided"
    on_cpu: bool = True
    """Whether the CPU draws two images, too, in a time that one waits for."""


PAPERS = (
    Case("mimflow-l", "joint", 64, 64, (64, 256)),
    Case("simflow-l", "stage1", 64, 32, (64, 256)),
    Case("tarflow-imagenet64-cond", "main", 64, 32, (16, 64), on_cpu=False),
)
TWINS = (
    Case("mimflow-mnist5k", "joint", 8, 4, (2,)),
    Case("simflow-mnist5k", "stage1", 8, 4, (2,)),
    Case("tarflow-mnist5k", "main", 8, 4, (2,)),
)


class Enough(Exception):
    """All steps that are measured have been made."""


class Clock(Progress):
    """Notes when each step has ended, on the device too, until there are `enough` if that is said."""

    def __init__(self, device: torch.device, enough: int | None = None):
        self.times: list[float] = []
        self.device, self.enough = device, enough
        super().__init__("benchmark", quiet=True)

    def advance(self, done: int, images: int = 0, **shown: float) -> None:
        """A step is over when the device has done it."""
        wait(self.device)
        self.times.append(time.monotonic())
        if len(self.times) == self.enough:
            raise Enough


def wait(device: torch.device) -> None:
    """Until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """How long it takes, the device included."""
    wait(device)
    began = time.monotonic()
    work()
    wait(device)
    return time.monotonic() - began


def measured_peak(device: torch.device, side: int, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two matrices with so many rows and columns, the best of 10."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def without_networks(workspace: Workspace, case: Case, compiled: bool) -> RunSpec:
    """The case's run with its parts, and losses that need no frozen network."""
    phase = workspace.get("run", case.run).spec.phases[case.phase]
    place = f"phases.{case.phase}"
    left_out = {f"{place}.objective.{name}": [] for name in LOSSES_WITHOUT_NETWORKS if hasattr(phase.objective, name)}
    changes = {
        "batch_size": case.batch,
        "accumulate": case.batch // case.part,
        "steps": STEPS,
        "epochs": None,
        "snapshots": [],
    }
    of_the_phase = {f"{place}.{name}": value for name, value in changes.items()}
    return composed(workspace, case.run, {"compute.compile": compiled} | left_out | of_the_phase)


def random_split(shapes: Shapes, count: int) -> Split:
    """Images of noise."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, shapes.size, shapes.size, shapes.channels), np.uint8)
    return Split(images, random.integers(0, shapes.num_classes, count))


def flops_an_image(trainer: Trainer, split: Split) -> float:
    """The multiplications and additions, counted twice each, of one image's part of a step: all players' turns."""
    rows = np.arange(2)
    images, labels = to_unit(split.images[rows]), torch.from_numpy(split.labels[rows])
    device = trainer.device
    batch = Batch(images.to(device), labels.to(device), torch.from_numpy(rows).to(device))
    carry: dict[str, Any] = {}
    with FlopCounterMode(display=False) as counter:
        for player in trainer.players:
            for other in trainer.players:
                for parameter in other.parameters.values():
                    parameter.requires_grad_(other is player)
            with autocast(device, trainer.phase.precision):
                loss, _ = trainer.objective(player.name, batch, carry)
            loss.backward()
            trainer.objective.zero_grad(set_to_none=True)
    trainer.objective.requires_grad_(False)
    return counter.get_total_flops() / len(rows)


def train(
    workspace: Workspace, case: Case, device: torch.device, peak: float, steps: int, compiled: bool = False
) -> str:
    """One line: what training this case gives."""
    run = without_networks(workspace, case, compiled)
    shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
    phase = run.phases[case.phase]
    task = TrainTask(shapes=shapes, system=run.system, phase=phase, phase_name=case.phase, seed=0, compute=run.compute)
    if device.type == "cuda":
        gc.collect()  # the case before
        torch.cuda.reset_peak_memory_stats(device)
    objective = build_objective(task, {}).to(device)
    split = random_split(shapes, case.batch)
    clock = Clock(device, WARM_UP + steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            objective, phase, case.phase, phase.trained, Splits(split, random_split(shapes, 2)), 0, device,
            Path(folder), Path(folder), clock, "benchmark",
        )  # fmt: skip
        flops = flops_an_image(trainer, split)
        prepare_layers(objective.system, run.compute)
        with suppress(Enough):
            trainer.run()
    needed = footprint(run.system, phase, shapes).total(case.part) / 2**30
    each = (clock.times[-1] - clock.times[WARM_UP - 1]) / steps
    rate = case.batch / each
    return (
        f"train   {case.run:24} {case.phase:7} {phase.precision}{', compiled' if compiled else '':10}  "
        f"batch {case.batch:>3} by {case.part:>2}  "
        f"{rate:9.1f} images/s  {peak_memory_mb(device) / 1024:5.1f} GB ({needed:.1f} by the plan)  "
        f"{flops / 1e9:8.1f} GFLOP an image  {flops * rate / peak:6.1%} of the measured peak"
    )


def prior_of(workspace: Workspace, case: Case) -> tuple[GuidablePrior, InverseSpec, int]:
    """The case's flow with random weights, its guided output, and how many classes there are."""
    run = workspace.get("run", case.run).spec
    shapes = Shapes.of(workspace.get("dataset", run.dataset).spec)
    torch.manual_seed(0)
    prior = SystemModules(run.system, shapes).module("prior").eval().requires_grad_(False)
    assert isinstance(prior, GuidablePrior)
    for name, parameter in prior.named_parameters():
        if "proj_out" in name and name.endswith("weight"):  # they start at zero, where every flow is the identity
            torch.nn.init.normal_(parameter, std=0.1 * parameter.shape[-1] ** -0.5)
    output = run.outputs[case.output]
    assert isinstance(output, InverseSpec) and output.guidance is not None
    return prior, output, shapes.num_classes


def sample(workspace: Workspace, case: Case, device: torch.device) -> Iterator[str]:
    """The case's flow, guided: how far two images are from the CPU's, and how fast each batch is drawn."""
    prior, output, classes = prior_of(workspace, case)
    rule = guidance_rule(output.guidance)
    cpu = torch.device("cpu")
    drawn = []
    for where in (cpu, device) if case.on_cpu else (device,):
        prior = prior.to(where)
        z, labels = prior.noise(Draws(range(2))), torch.arange(2) % classes
        drawn.append(prior.inverse(z.to(where), labels.to(where), rule).cpu())
    if case.on_cpu:
        apart, size = (drawn[0] - drawn[1]).abs().max().item(), drawn[0].abs().max().item()
        yield f"agree   {case.run:24} guided  fp32  largest difference to the CPU {apart:.1e} of {size:.1f}"

    for batch in case.sampled:
        z, labels = prior.noise(Draws(range(batch))).to(device), torch.arange(batch, device=device) % classes
        for precision in sorted({output.precision, "bf16"}):
            with autocast(device, precision), keeping_steppers():
                first, took = (seconds(partial(prior.inverse, z, labels, rule), device) for _ in range(2))
            yield (
                f"sample  {case.run:24} guided  {precision}  batch {batch:>3}  {batch / took:9.2f} images/s, "
                f"the first batch {batch / first:.2f}"
            )
        if batch == case.sampled[0] and isinstance(prior, Tarflow) and isinstance(output.guidance, LinearGuidance):
            with autocast(device, output.precision):
                took = seconds(partial(plain_inverse, prior, z, labels, output.guidance.weight), device)
            yield f"plain   {case.run:24} guided  {output.precision}  batch {batch:>3}  {batch / took:9.2f} images/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", action="store_true", help="the small twins, on the CPU")
    parser.add_argument("--run", choices=[case.run for case in PAPERS + TWINS], help="that one alone")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="train with compiled layers, and draw nothing")
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device("cpu" if arguments.twins else "cuda")
    began = time.monotonic()
    workspace = open_workspace(REPOSITORY)
    peak = measured_peak(device, 512, torch.float32) if arguments.twins else measured_peak(device, 8192, torch.bfloat16)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, measured peak {peak / 1e12:.2f} TFLOP/s", flush=True)
    for case in TWINS if arguments.twins else PAPERS:
        if arguments.run not in (None, case.run):
            continue
        print(train(workspace, case, device, peak, arguments.steps, arguments.compile), flush=True)
        for line in () if arguments.compile else sample(workspace, case, device):
            print(line, flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
