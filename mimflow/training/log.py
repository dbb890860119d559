"""The log of a phase: means over a fixed number of steps, as rows."""

from __future__ import annotations

from typing import Any

ROWS = 200
"""About how many rows a phase has."""


class TrainingLog:
    """Figures of every step go in; every `interval` steps, and at the last, their means make a row.

    A figure that a step does not have (a player that did not take part) counts for nothing in that step.
    """

    def __init__(self, total: int):
        self.total = total
        self.interval = max(1, total // ROWS)
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, tuple[float, int]] = {}

    def ends_row(self, step: int) -> bool:
        """Whether a row is made when so many steps are done."""
        return step % self.interval == 0 or step == self.total

    def add(self, step: int, epoch: float, lr: float, figures: dict[str, float]) -> None:
        """Take in the figures of a step; `step` counts those done, `lr` is the rate that it was taken with."""
        for name, value in figures.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)
        if self.ends_row(step):
            means = {name: total / count for name, (total, count) in self._sums.items()}
            self.rows.append({"step": step, "epoch": epoch, "lr": lr, **means})
            self._sums = {}

    def state(self) -> dict[str, Any]:
        """Plain data, for a checkpoint."""
        return {"rows": self.rows, "sums": self._sums}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.rows = state["rows"]
        self._sums = {name: (total, count) for name, (total, count) in state["sums"].items()}
