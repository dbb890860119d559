"""The training loop: one for all objectives.

What a step does follows from its number and the seed, never from history: data order, augmentation, noise, dropout.
So a run that was stopped anywhere goes on from its last checkpoint, and on a CPU ends in the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mimflow.artifacts.checkpoint import AVERAGED, MOMENTS, WEIGHTS, snapshot_file
from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.compute.devices import autocast
from mimflow.compute.memory import memory_errors
from mimflow.data.prepared import Split
from mimflow.errors import Interrupted, NotFiniteError
from mimflow.objectives.base import Batch, Objective, Player
from mimflow.progress import Progress
from mimflow.seeds import derive
from mimflow.training import checkpoint
from mimflow.training.batches import InOrder, Shuffled
from mimflow.training.ema import Ema
from mimflow.training.log import TrainingLog
from mimflow.training.memory import out_of_memory
from mimflow.training.optimisers import build_optimiser, load_optimiser_state, optimiser_state
from mimflow.training.schedule import learning_rate_factor, warmup_steps
from mimflow.training.signals import Interruption
from mimflow.training.spec import Phase
from mimflow.training.validation import validate
from mimflow.weights.tensors import not_finite, require_fit, save_state

REMEDY = "lower optimizer.lr, or set clip"
MOST_SKIPPED = 100
"""How many steps in a row may be skipped because they are not finite: what needs more does not train."""


@dataclass(frozen=True)
class Splits:
    """What a phase trains on and what it is checked on."""

    train: Split
    val: Split


class Trainer:
    """A phase of training under way.

    `job` is the key of the job that it is: of checkpoints below `work`, it goes on from its own alone. `out` receives
    snapshots. Raises DataError if there is too little to train on; `run` says what it raises.
    """

    def __init__(
        self,
        objective: Objective,
        phase: Phase,
        phase_name: str,
        trains: list[str],
        splits: Splits,
        seed: int,
        device: torch.device,
        work: Path,
        out: Path,
        progress: Progress,
        job: str,
    ):
        self.objective = objective
        self.phase = phase
        self.phase_name = phase_name
        self.seed = seed
        self.device = device
        self.out = out
        self.progress = progress
        self.job = job
        self.checkpoints = work / "checkpoints"

        self.train = Shuffled(splits.train, phase.batch_size, phase.accumulate, phase.augment, seed, device)
        self.val = InOrder(splits.val, phase.batch_size // phase.accumulate, device)
        per_epoch = self.train.steps_per_epoch
        self.total = phase.steps or max(1, round((phase.epochs or 0) * per_epoch))
        self.warmup = warmup_steps(phase.schedule, per_epoch)

        objective.begin(self.total)
        self.players = objective.players(trains)
        assert self.parameters, "refused by RunSpec.problems"
        objective.training_mode(trains)
        objective.requires_grad_(False)
        if phase.optimizer is None:
            raise ValueError(f"phase '{phase_name}' has no optimiser: it is solved in closed form")
        self.peak_lr = phase.optimizer.lr
        self.optimisers = {player.name: build_optimiser(phase.optimizer, player.parameters) for player in self.players}
        averaged = {name: p for name, p in self.parameters.items() if not name.startswith("objective.")}
        self.ema = Ema(averaged, phase.ema) if phase.ema is not None else None

        self.step = 0
        self.log = TrainingLog(self.total)
        self.snapshot_figures: dict[str, dict[str, float | None]] = {}
        self._snapshot_digests: dict[str, str] = {}
        self.seconds = 0.0
        self.skipped = 0
        self._skipped_in_a_row = {player.name: 0 for player in self.players}

    @property
    def last_lr(self) -> float:
        """The first player's learning rate at the step that was done last."""
        return self._learning_rate(self.step - 1)

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """All that is trained, by its name in checkpoints."""
        return {name: p for player in self.players for name, p in player.parameters.items()}

    @property
    def epoch(self) -> float:
        """Passes over the training split so far."""
        return self.step / self.train.steps_per_epoch

    def averaged_state(self) -> dict[str, Tensor]:
        """A complete state with averages in place of trained tensors; without an EMA, the state as it is."""
        return self.objective.state() | (self.ema.averages if self.ema is not None else {})

    def moments(self) -> dict[str, Tensor]:
        """The state of all players' optimisers, as `player.parameter.slot`."""
        return {
            f"{player.name}.{name}": tensor
            for player in self.players
            for name, tensor in optimiser_state(self.optimisers[player.name], player.parameters).items()
        }

    def continue_from(self, before: Artifact) -> None:
        """Take over the objective's own tensors, averages and moments of a finished phase of the same objective.

        The system's weights are in place already. ArtifactError if the objective's own tensors do not fit.
        """
        path = before.file(WEIGHTS)
        given = {name: tensor for name, tensor in load_file(path).items() if name.startswith("objective.")}
        own = {name: tensor for name, tensor in self.objective.state().items() if name.startswith("objective.")}
        require_fit(path, given, own, "objective of a phase that continues it")
        self.objective.load_state(self.objective.state() | given)
        if self.ema is not None:
            self.ema.load(load_file(before.file(AVERAGED)))
        self._load_moments(load_file(before.file(MOMENTS)))

    def run(self) -> dict[str, float | None]:
        """Train from the last checkpoint, or from the start, to the end; returns the figures on the val split.

        Raises NotFiniteError before an update that is not finite and is not to be skipped, and before anything that is
        not finite would be saved; OutOfMemoryError; StorageError; and Interrupted once a checkpoint is written after a
        signal that asks to stop.
        """
        with Interruption() as interruption, memory_errors(out_of_memory(self.phase_name, self.phase)):
            self._interruption = interruption
            self._resume()
            self._saved = time.monotonic()
            self._began = self._saved - self.seconds
            if self.step == 0:
                self.objective.prepare(self._split_in_order())
            self.progress.start(self.total, self.step)
            self._snapshots()
            while self.step < self.total:
                self._stop_if_asked()
                self._advance()
            return self._validate()

    def _split_in_order(self) -> Iterator[Batch]:
        """The training split as it is; may raise Interrupted before each batch."""
        for batch in InOrder(self.train.split, self.train.part_size, self.device):
            self._stop_if_asked()
            yield batch

    # -- a step ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        figures = self._step()
        self.step += 1
        self.log.add(self.step, self.epoch, self.last_lr, figures)
        shown = {"loss": figures["loss"]} if "loss" in figures else {}
        self.progress.advance(self.step, self.phase.batch_size, **shown)
        self._snapshots()
        if self.step == self.total or time.monotonic() - self._saved >= self.phase.checkpoint_seconds:
            self._save()

    def _step(self) -> dict[str, float]:
        """All players' turns in this step; the figures of each, those of the second and later under their names."""
        self.objective.begin_step(self.step, self.log.ends_row(self.step + 1))
        parts = []
        for part in range(self.phase.accumulate):
            self._seed_draws(part, "data")
            parts.append(self.train.part(self.step, part))
        carries: list[dict[str, Any]] = [{} for _ in parts]
        figures: dict[str, float] = {}
        for position, player in enumerate(self.players):
            if player.plays(self.step):
                prefix = f"{player.name}_" if position else ""
                figures |= self._turn(player, parts, carries, prefix)
        if self.ema is not None and figures:  # a step that was skipped leaves the averages too
            self.ema.update()
        return figures

    def _turn(self, player: Player, parts: list[Batch], carries: list[dict[str, Any]], prefix: str) -> dict[str, float]:
        """One player's update from all parts of the batch."""
        for other in self.players:
            for parameter in other.parameters.values():
                parameter.requires_grad_(other is player)
        optimiser = self.optimisers[player.name]
        optimiser.zero_grad(set_to_none=True)
        buffers = self._buffers() if self.phase.on_nonfinite == "skip" else {}
        sums: dict[str, Tensor] = {}
        for part, (batch, carry) in enumerate(zip(parts, carries, strict=True)):
            self._seed_draws(part, player.name)
            with autocast(self.device, self.phase.precision):
                loss, figures = self.objective(player.name, batch, carry)
            (loss / len(parts)).backward()
            for name, value in {f"{prefix}loss": loss, **figures}.items():
                value = value.detach().float() / len(parts)
                sums[name] = sums[name] + value if name in sums else value

        gradients = [p.grad for p in player.parameters.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.phase.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(player.parameters.values(), self.phase.clip, norm)
        sums[f"{prefix}grad_norm"] = norm
        numbers = dict(zip(sums, torch.stack([value.float() for value in sums.values()]).tolist(), strict=True))
        lr = self._learning_rate(self.step)
        if not self._finite(player, numbers, lr):
            self._restore(buffers)
            return {}
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.step()
        return numbers

    def _learning_rate(self, step: int) -> float:
        return self.peak_lr * learning_rate_factor(self.phase.schedule, step, self.total, self.warmup)

    def _seed_draws(self, part: int, use: str) -> None:
        torch.manual_seed(derive(self.seed, self.step, part, use))

    def _finite(self, player: Player, numbers: dict[str, float], lr: float) -> bool:
        """Whether an update may be made: counts one that is to be skipped, and raises NotFiniteError otherwise."""
        broken = [f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value)]
        if not broken:
            self._skipped_in_a_row[player.name] = 0
            return True
        where = f"phase '{self.phase_name}': {broken[0]} at step {self.step + 1} of {self.total}"
        if self.phase.on_nonfinite == "skip" and self._skipped_in_a_row[player.name] < MOST_SKIPPED:
            self.skipped += 1
            self._skipped_in_a_row[player.name] += 1
            self.progress.warn(f"{where}: skipped, {self.skipped} so far")
            return False
        before = f", as {MOST_SKIPPED} steps before it" if self._skipped_in_a_row[player.name] else ""
        remedy = REMEDY + ("" if before else "; on_nonfinite: skip leaves such steps out")
        raise NotFiniteError(f"{where}{before} with learning rate {lr:.4g}; {self._last_good()} ({remedy})")

    def _last_good(self) -> str:
        last = checkpoint.last_path(self.checkpoints)
        return f"last good checkpoint: {last}" if last else "no checkpoint had been written yet"

    def _buffers(self) -> dict[str, Tensor]:
        """Copies of what a forward pass alone may change: running statistics."""
        return {name: buffer.clone() for name, buffer in self.objective.named_buffers()}

    @torch.no_grad()
    def _restore(self, buffers: dict[str, Tensor]) -> None:
        for name, buffer in self.objective.named_buffers():
            buffer.copy_(buffers[name])

    # -- checkpoints, snapshots, validation --------------------------------------------------------------------------

    def _stop_if_asked(self) -> None:
        received = self._interruption.received
        if received is not None:
            path = self._save()
            raise Interrupted(
                f"phase '{self.phase_name}': {received.name} at step {self.step} of {self.total}; "
                f"the next run goes on from {path}"
            )

    def _require_finite(self) -> None:
        """NotFiniteError unless all that would be saved is finite: a loss says nothing of the update after it."""
        groups = {"": self.objective.state(), "the average of ": self.ema.averages if self.ema is not None else {}}
        groups["the optimiser's "] = self.moments()
        for of, tensors in groups.items():
            broken = not_finite(tensors)
            if broken is not None:
                raise NotFiniteError(
                    f"phase '{self.phase_name}': {of}{broken} is not finite after step {self.step} of {self.total}, "
                    f"which had the learning rate {self.last_lr:.4g}; {self._last_good()} ({REMEDY})"
                )

    def _save(self) -> Path:
        self._require_finite()
        tensors = {f"weights.{name}": tensor for name, tensor in self.objective.state().items()}
        if self.ema is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.averages.items()}
        tensors |= {f"optimiser.{name}": tensor for name, tensor in self.moments().items()}
        self.seconds = time.monotonic() - self._began
        record = {"log": self.log.state(), "snapshots": self.snapshot_figures, "seconds": self.seconds}
        record |= {"skipped": [self.skipped, self._skipped_in_a_row], "snapshot_digests": self._snapshot_digests}
        path = checkpoint.save(self.checkpoints, checkpoint.Checkpoint(self.job, self.step, tensors, record))
        self._saved = time.monotonic()
        return path

    def _resume(self) -> None:
        found = checkpoint.newest(self.checkpoints, self.job, self.progress.say, self._snapshot_problem)
        if found is None:
            return
        self.objective.load_state(_below("weights.", found.tensors))
        if self.ema is not None:
            self.ema.load(_below("ema.", found.tensors))
        self._load_moments(_below("optimiser.", found.tensors))
        self.step = found.step
        self.log.load_state(found.record["log"])
        self.snapshot_figures = found.record["snapshots"]
        self._snapshot_digests = found.record["snapshot_digests"]
        self.seconds = found.record["seconds"]
        self.skipped, self._skipped_in_a_row = found.record["skipped"]
        self.progress.say(f"going on from the checkpoint at step {self.step} of {self.total}")

    def _snapshot_problem(self, found: checkpoint.Checkpoint) -> str | None:
        """Why a checkpoint can't be gone on from: snapshots before it are results too, and are not made again."""
        for name, digest in found.record["snapshot_digests"].items():
            path = self.out / snapshot_file(name)
            if not path.is_file() or sha256_of(path) != digest:
                return f"comes after snapshot {name}, which is missing or damaged"
        return None

    def _load_moments(self, tensors: dict[str, Tensor]) -> None:
        for player in self.players:
            load_optimiser_state(self.optimisers[player.name], player.parameters, _below(f"{player.name}.", tensors))

    def _snapshots(self) -> None:
        """Write the snapshots that are due at this step and not made yet: averaged weights where there are any."""
        for name, fraction in {f"{fraction:g}": fraction for fraction in self.phase.snapshots}.items():
            if round(fraction * self.total) == self.step and name not in self.snapshot_figures:
                path = self.out / snapshot_file(name)
                self._require_finite()
                save_state(self.averaged_state(), path)
                self.snapshot_figures[name] = self._validate()
                self._snapshot_digests[name] = sha256_of(path)

    def _validate(self) -> dict[str, float | None]:
        self.objective.begin_step(self.step, logged=False)
        figures = validate(
            self.objective, self.val, self.players[0].name, self.seed, self.phase.precision, self._stop_if_asked
        )
        self.progress.validated(figures)
        return figures


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
