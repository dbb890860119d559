"""The figures of turns on their way from the device to the log, and what becomes of those that are not finite.

The device decides for itself whether a turn changes anything; the host looks at its figures when a row of the log ends
or something is saved, and only then waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mimflow.errors import NotFiniteError
from mimflow.training.spec import Phase

REMEDY = "lower optimizer.lr, or set clip"
MOST_SKIPPED = 100
"""How many steps in a row may be skipped because they are not finite: what needs more does not train."""


@dataclass(frozen=True)
class Turn:
    """A player's turn in a step, as it lies on the device."""

    player: str
    lr: float
    """The rate that it was taken with."""
    names: tuple[str, ...]
    """Of its figures."""
    figures: Tensor
    """Their values, float32, one each."""


class Watch:
    """Holds the turns of steps until `read` looks at them. `total` is the phase's number of steps."""

    def __init__(
        self,
        phase: Phase,
        phase_name: str,
        total: int,
        players: list[str],
        say: Callable[[str], None],
        last_good: Callable[[], str],
    ):
        self.phase = phase
        self.phase_name = phase_name
        self.total = total
        self.say = say
        self.last_good = last_good
        self.skipped = 0
        self.skipped_in_a_row = dict.fromkeys(players, 0)
        self._steps: list[tuple[int, list[Turn]]] = []

    def add(self, step: int, turns: list[Turn]) -> None:
        """The turns of a step, counted from 0, that has been taken."""
        self._steps.append((step, turns))

    def read(self) -> list[tuple[int, dict[str, float]]]:
        """Every step since the last look with the figures of its turns, but for those that were skipped.

        Waits for the device. Raises NotFiniteError where an update that is not finite is not to be skipped: it has
        changed nothing, but later steps have.
        """
        steps, self._steps = self._steps, []
        every = [turn.figures for _, turns in steps for turn in turns]
        numbers = iter(torch.cat(every).tolist() if every else [])
        found = []
        for step, turns in steps:
            figures: dict[str, float] = {}
            for turn in turns:
                values = {name: next(numbers) for name in turn.names}
                if self._finite(step, turn, values):
                    figures |= values
            found.append((step, figures))
        return found

    def _finite(self, step: int, turn: Turn, figures: dict[str, float]) -> bool:
        """Whether a turn was taken: counts one that was skipped, and raises NotFiniteError if it may not be."""
        broken = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
        if not broken:
            self.skipped_in_a_row[turn.player] = 0
            return True
        where = f"phase '{self.phase_name}': {broken[0]} at step {step + 1} of {self.total}"
        in_a_row = self.skipped_in_a_row[turn.player]
        if self.phase.on_nonfinite == "skip" and in_a_row < MOST_SKIPPED:
            self.skipped += 1
            self.skipped_in_a_row[turn.player] += 1
            self.say(f"{where}: skipped, {self.skipped} so far")
            return False
        before = f", as {MOST_SKIPPED} steps before it" if in_a_row else ""
        remedy = REMEDY + ("" if before else "; on_nonfinite: skip leaves such steps out")
        raise NotFiniteError(f"{where}{before} with learning rate {turn.lr:.4g}; {self.last_good()} ({remedy})")
