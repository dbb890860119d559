"""The training loop: one for all objectives.

What a step does follows from its number and the seed, never from history: data order, augmentation, noise, dropout.
So a run that was stopped anywhere goes on from its last checkpoint, and on a CPU ends in the same bits.

A step's batch comes in parts, and each part draws its own. Several processes share the parts out and do the arithmetic
of one, up to the order of sums. In a step the host does not wait for the device but where a row of the log ends.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimflow.artifacts.checkpoint import snapshot_file, snapshot_name
from mimflow.artifacts.log import LOG
from mimflow.artifacts.manifest import sha256_of
from mimflow.compute.devices import autocast, seed_draws
from mimflow.compute.memory import memory_errors
from mimflow.compute.processes import ONE_PROCESS, World
from mimflow.data.prepared import Split
from mimflow.errors import DataError, Interrupted, NotFiniteError
from mimflow.objectives.base import Batch, Objective, Player
from mimflow.progress import Progress
from mimflow.seeds import derive
from mimflow.training import checkpoint
from mimflow.training.batches import InOrder, Shuffled
from mimflow.training.ema import Ema
from mimflow.training.gradients import Gradients, turn_to
from mimflow.training.live import Live, RowWriter
from mimflow.training.log import TrainingLog
from mimflow.training.memory import out_of_memory
from mimflow.training.optimisers import build_optimiser, step_where
from mimflow.training.running import RunningState
from mimflow.training.schedule import learning_rate_factor, warmup_steps
from mimflow.training.sharding import gathered, is_sharded, whole
from mimflow.training.signals import Interruption
from mimflow.training.spec import Phase
from mimflow.training.state import TrainingState
from mimflow.training.validation import validate
from mimflow.training.watch import REMEDY, Turn, Watch
from mimflow.weights.tensors import save_state


@dataclass(frozen=True)
class Splits:
    """What a phase trains on and what it is checked on."""

    train: Split
    val: Split


class Trainer:
    """A phase of training under way.

    `job` is the key of the job that it is: of checkpoints below `work`, it goes on from its own alone. `out` receives
    snapshots, `writers` the log's rows as they are made. Raises DataError if there is too little to train on, or to
    share out among the processes of `world`; `run` says what it raises.
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
        world: World = ONE_PROCESS,
        writers: Sequence[RowWriter] = (),
    ):
        self.objective = objective
        self.phase = phase
        self.phase_name = phase_name
        self.seed = seed
        self.device = device
        self.out = out
        self.progress = progress
        self.job = job
        self.world = world
        if world.size > phase.accumulate:
            raise DataError(
                f"phase '{phase_name}': {world.size} processes, and a step has {phase.accumulate} parts to share out "
                f"(accumulate: {world.size} or more)"
            )
        self.sharded = is_sharded(objective.parameters())
        if self.sharded and phase.accumulate % world.size:
            raise DataError(
                f"phase '{phase_name}': {world.size} processes of a sharded model can't have {phase.accumulate} parts "
                f"in turn (accumulate: a multiple of {world.size})"
            )
        self.checkpoints = work / "checkpoints"
        self.writer = checkpoint.Writer(self.checkpoints, phase.checkpoint_seconds, shares_cores=device.type == "cpu")

        self.train = Shuffled(
            splits.train, phase.batch_size, phase.accumulate, phase.augment, seed, device, world.own(phase.accumulate)
        )
        self.val = InOrder(splits.val, phase.batch_size // phase.accumulate, device)
        per_epoch = self.train.steps_per_epoch
        self.total = phase.steps or max(1, round((phase.epochs or 0) * per_epoch))
        self.warmup = warmup_steps(phase.schedule, per_epoch)

        objective.begin(self.total)
        self.players = objective.players(trains)
        assert self.parameters, "refused by RunSpec.problems"
        objective.training_mode(trains)
        objective.requires_grad_(False)
        self.gradients = Gradients(objective, self.players, world, self.sharded)
        if phase.optimizer is None:
            raise ValueError(f"phase '{phase_name}' has no optimiser: it is solved in closed form")
        self.peak_lr = phase.optimizer.lr
        self.optimisers = {player.name: build_optimiser(phase.optimizer, player.parameters) for player in self.players}
        averaged = {name: p for name, p in self.parameters.items() if not name.startswith("objective.")}
        self.ema = Ema(averaged, phase.ema) if phase.ema is not None else None

        self.state = TrainingState(objective, self.players, self.optimisers, self.ema)

        self.step = 0
        self.log = TrainingLog(self.total, per_epoch)
        self.live = Live(work / LOG, writers) if world.first else None
        self._shown: dict[str, float] = {}
        self._validated: tuple[int, dict[str, float | None]] | None = None
        self.snapshot_figures: dict[str, dict[str, float | None]] = {}
        self._snapshot_digests: dict[str, str] = {}
        self.seconds = 0.0
        players = [player.name for player in self.players]
        self.watch = Watch(phase, phase_name, self.total, players, progress.warn, self._last_good)

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
        return self._epoch(self.step)

    @property
    def skipped(self) -> int:
        """Turns that were not finite and changed nothing, of those that were looked at."""
        return self.watch.skipped

    def run(self) -> dict[str, float | None]:
        """Train from the last checkpoint, or from the start, to the end; returns the figures on the val split.

        Raises NotFiniteError where an update that is not finite is not to be skipped, and before anything that is not
        finite would be saved; OutOfMemoryError; StorageError; and Interrupted once a checkpoint is written after a
        signal that asks to stop.
        """
        with Interruption() as interruption, memory_errors(out_of_memory(self.phase_name, self.phase)), self.writer:
            self._interruption = interruption
            self._resume()
            self._began = time.monotonic() - self.seconds
            if self.step == 0:
                self.objective.prepare(self._split_in_order())
            self.progress.start(self.total, self.step)
            self._validate_row()
            if self.live is not None:
                self.live.begin(self.log.rows, self.step)
            try:
                self._snapshots()
                while self.step < self.total:
                    self._stop_if_asked()
                    self._advance()
                figures = self._validate()
            finally:
                if self.live is not None:
                    self.live.close()
            self.writer.finish()
            return figures

    def _split_in_order(self) -> Iterator[Batch]:
        """The training split as it is; may raise Interrupted before each batch."""
        for batch in InOrder(self.train.split, self.train.part_size, self.device):
            self._stop_if_asked()
            yield batch

    # -- a step ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self.watch.add(self.step, self._step())
        self.step += 1
        due, watched = self.world.most(self.writer.due, self.live is not None and self.live.due)
        if self.log.ends_row(self.step):
            self._read()
            self._validate_row()
            self._show(self.log.rows[-1], kept=True)
        elif watched:
            self._read()
            self._show(self.log.between(self.step, self.epoch, self.last_lr), kept=False)
        shown = {name: value for name, value in self._shown.items() if name == "loss"}
        self.progress.advance(self.step, self.phase.batch_size, **shown)
        self._snapshots()
        if due or self.step == self.total:
            self._save()

    def _show(self, row: dict[str, float] | None, kept: bool) -> None:
        """Show a row to those who watch."""
        if row is not None:
            self._shown = row
            if self.live is not None:
                self.live.add(row, time.monotonic() - self._began, kept)

    def _step(self) -> list[Turn]:
        """All players' turns in this step."""
        self.objective.begin_step(self.step, logged=self.log.measures(self.step + 1))
        own = self.world.own(self.phase.accumulate)
        parts = []
        for part in own:
            self._seed_draws(part, "data")
            parts.append(self.train.part(self.step, part))
        carries: list[dict[str, Any]] = [{} for _ in parts]
        turns, taken = [], []
        for position, player in enumerate(self.players):
            if player.plays(self.step):
                prefix = f"{player.name}_" if position else ""
                turn, finite = self._turn(player, dict(zip(own, zip(parts, carries, strict=True), strict=True)), prefix)
                turns.append(turn)
                taken.append(finite)
        if self.ema is not None and taken:
            if self.phase.on_nonfinite == "skip":  # a step that was skipped leaves the averages too
                self.ema.update_where(torch.stack(taken).any())
            else:
                self.ema.update()
        return turns

    def _turn(self, player: Player, parts: dict[int, tuple[Batch, dict[str, Any]]], prefix: str) -> tuple[Turn, Tensor]:
        """One player's update from all parts of the batch, and whether it was made, a truth value on the device.

        `parts` are this process's, by number. What is not finite changes nothing.
        """
        count = self.phase.accumulate
        turn_to(player, self.players)
        optimiser = self.optimisers[player.name]
        optimiser.zero_grad(set_to_none=True)
        running = None
        if count > 1 or self.phase.on_nonfinite == "skip":
            running = RunningState(self.objective, count, self.world)
        sums: dict[str, Tensor] = {}
        for part, (batch, carry) in parts.items():
            self._seed_draws(part, player.name)
            with self.gradients.of_part(player, last=part == max(parts)) as losses:
                with autocast(self.device, self.phase.precision):
                    loss, figures = losses(player.name, batch, carry)
                (loss / self.gradients.share(count)).backward()
            if running is not None:
                running.end_part()
            for name, value in {f"{prefix}loss": loss, **figures}.items():
                value = value.detach().float() / count
                sums[name] = sums[name] + value if name in sums else value

        gradients = [p.grad for p in player.parameters.values() if p.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        if self.phase.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(player.parameters.values(), self.phase.clip, norm)
        numbers = self.world.sum(torch.stack([value.float() for value in sums.values()]))
        numbers = torch.cat([numbers, norm.float()[None]])
        finite = numbers.isfinite().all()
        lr = self._learning_rate(self.step)
        step_where(optimiser, lr, finite)
        if running is not None:
            running.end_turn(finite)
        return Turn(player.name, lr, (*sums, f"{prefix}grad_norm"), numbers), finite

    def _learning_rate(self, step: int) -> float:
        return self.peak_lr * learning_rate_factor(self.phase.schedule, step, self.total, self.warmup)

    def _epoch(self, steps: int) -> float:
        return steps / self.train.steps_per_epoch

    def _seed_draws(self, part: int, use: str) -> None:
        seed_draws(derive(self.seed, self.step, part, use))

    def _read(self) -> None:
        """Take the figures of the steps since the last row into the log; raises NotFiniteError."""
        try:
            found = self.watch.read()
        except NotFiniteError as error:
            self.world.end(error)
        for step, figures in found:
            self.log.add(step + 1, self._epoch(step + 1), self._learning_rate(step), figures)

    # -- checkpoints, snapshots, validation --------------------------------------------------------------------------

    def _stop_if_asked(self) -> None:
        """Write a checkpoint and raise Interrupted if any process was sent a signal that asks to stop."""
        (received,) = self.world.most(self._interruption.received or 0)
        if received:
            path = self._save()
            self.writer.finish()
            self.world.wait()
            message = f"{signal.Signals(received).name} at step {self.step} of {self.total}"
            self.world.end(Interrupted(f"phase '{self.phase_name}': {message}; the next run goes on from {path}"))

    def _last_good(self) -> str:
        self.writer.finish()
        last = checkpoint.last_path(self.checkpoints)
        return f"last good checkpoint: {last}" if last else "no checkpoint had been written yet"

    def _require_finite(self) -> None:
        """NotFiniteError unless all that would be saved is finite: a loss says nothing of the update after it."""
        self._read()
        broken = self.state.not_finite()
        broken = next(filter(None, self.world.of_all(broken)), None)
        if broken is not None:
            self.world.end(
                NotFiniteError(
                    f"phase '{self.phase_name}': {broken} is not finite after step {self.step} of {self.total}, "
                    f"which had the learning rate {self.last_lr:.4g}; {self._last_good()} ({REMEDY})"
                )
            )

    def _save(self) -> Path:
        """Begin to write a checkpoint beside the training; returns where."""
        with self.writer.timed():
            self._require_finite()
            self.seconds = time.monotonic() - self._began
            record = {"log": self.log.state(), "snapshots": self.snapshot_figures, "seconds": self.seconds}
            record |= {"skipped": [self.watch.skipped, self.watch.skipped_in_a_row]}
            record |= {"snapshot_digests": self._snapshot_digests}
            copies = gathered(self.state.tensors(), self.world)
            if self.world.first:
                self.writer.begin(checkpoint.Checkpoint(self.job, self.step, copies, record))
        return checkpoint.path_at(self.checkpoints, self.step)

    def _resume(self) -> None:
        found = None
        if self.world.first:
            found = checkpoint.newest(self.checkpoints, self.job, self.progress.say, self._snapshot_problem)
        step = self.world.of_first(None if found is None else found.step)
        if step is None:
            return
        found = found or checkpoint.at(self.checkpoints, step)
        self.state.load(found.tensors)
        self.step = found.step
        self.log.load_state(found.record["log"])
        self.snapshot_figures = found.record["snapshots"]
        self._snapshot_digests = found.record["snapshot_digests"]
        self.seconds = found.record["seconds"]
        self.watch.skipped, self.watch.skipped_in_a_row = found.record["skipped"]
        self.progress.say(f"going on from the checkpoint at step {self.step} of {self.total}")

    def _snapshot_problem(self, found: checkpoint.Checkpoint) -> str | None:
        """Why a checkpoint can't be gone on from: snapshots before it are results too, and are not made again."""
        for name, digest in found.record["snapshot_digests"].items():
            path = self.out / snapshot_file(name)
            if not path.is_file() or sha256_of(path) != digest:
                return f"comes after snapshot {name}, which is missing or damaged"
        return None

    def _snapshots(self) -> None:
        """Write the snapshots that are due at this step and not made yet: averaged weights where there are any."""
        for name, fraction in {snapshot_name(fraction): fraction for fraction in self.phase.snapshots}.items():
            if round(fraction * self.total) == self.step and name not in self.snapshot_figures:
                path = self.out / snapshot_file(name)
                self._require_finite()
                averaged = gathered(self.state.averaged(), self.world)
                if self.world.first:
                    save_state(averaged, path)
                    self._snapshot_digests[name] = sha256_of(path)
                self.snapshot_figures[name] = self._validate()

    def _validate_row(self) -> None:
        """Put figures on the validation split into the log's last row, where it is to have some."""
        if self.log.lacks_validation(self.step):
            self.log.validated(self._validate())

    def _validate(self) -> dict[str, float | None]:
        """Figures on the validation split, which are computed once a step."""
        if self._validated is not None and self._validated[0] == self.step:
            return self._validated[1]
        self.objective.begin_step(self.step, logged=False)
        figures = validate(
            self.objective,
            self.val,
            self.players[0].name,
            self.seed,
            self.phase.precision,
            self._stop_if_asked,
            self.world,
        )
        self.progress.validated(figures, self.step)
        self._validated = self.step, figures
        return figures
