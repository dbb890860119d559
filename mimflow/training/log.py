"""The log of a phase: means over a fixed number of steps, as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mimflow.artifacts.log import VALIDATION

ROWS = 200
"""About how many rows a phase has."""
MEASURED = 10
"""Every which row, besides the first and the last, has the figures that are dear: norms of single terms' gradients."""
VALIDATIONS = 10
"""How many of them, at most and besides the last, have figures on the validation split; at least an epoch apart."""


class TrainingLog:
    """Figures of every step go in; every `interval` steps, and at the last, their means make a row.

    A figure that a step does not have (a player that did not take part) counts for nothing in that step. Steps alone
    say which rows there are and which are validated, so that a log is the same on every machine.
    """

    def __init__(self, total: int, per_epoch: int = 1):
        self.total = total
        self.interval = max(1, total // ROWS)
        apart = max(total / VALIDATIONS, per_epoch)
        self.validation_interval = math.ceil(apart / self.interval) * self.interval
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, tuple[float, int]] = {}
        self._recent: dict[str, tuple[float, int]] = {}

    def ends_row(self, step: int) -> bool:
        """Whether a row is made when so many steps are done."""
        return step % self.interval == 0 or step == self.total

    def measures(self, step: int) -> bool:
        """Whether the row that ends at this step has the figures that are dear."""
        return step % (MEASURED * self.interval) == 0 or step in (self.interval, self.total)

    def add(self, step: int, epoch: float, lr: float, figures: dict[str, float]) -> None:
        """Take in the figures of a step; `step` counts those done, `lr` is the rate that it was taken with."""
        for sums in (self._sums, self._recent):
            for name, value in figures.items():
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value, count + 1)
        if self.ends_row(step):
            self.rows.append({"step": step, "epoch": epoch, "lr": lr, **_means(self._sums)})
            self._sums, self._recent = {}, {}

    def between(self, step: int, epoch: float, lr: float) -> dict[str, float] | None:
        """A row that is shown and not kept: means of the steps since the last of either kind; None if there are none.

        It changes nothing of the rows that are kept.
        """
        means, self._recent = _means(self._recent), {}
        return {"step": step, "epoch": epoch, "lr": lr, **means} if means else None

    def lacks_validation(self, step: int) -> bool:
        """Whether the row that ends at this step is to have figures on the validation split and has none yet."""
        due = step % self.validation_interval == 0 or step == self.total
        last = self.rows[-1] if self.rows else {}
        return due and last.get("step") == step and not any(name.startswith(VALIDATION) for name in last)

    def validated(self, figures: Mapping[str, float | None]) -> None:
        """Put figures on the validation split into the last row; one that is not finite is left out."""
        self.rows[-1] |= {f"{VALIDATION}{name}": value for name, value in figures.items() if value is not None}

    def state(self) -> dict[str, Any]:
        """Plain data, for a checkpoint."""
        return {"rows": self.rows, "sums": self._sums}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.rows = state["rows"]
        self._sums = {name: (total, count) for name, (total, count) in state["sums"].items()}


def _means(sums: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    return {name: total / count for name, (total, count) in sums.items()}
