"""What draws a figure: the jobs that it reads, and how their results come onto paper."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mimflow.artifacts.metrics import METRICS
from mimflow.plan.jobs import Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mimflow.products.figure.product import FigureProduct
    from mimflow.products.table.model import Cell, Column, Table

MOST_NAMED = 3
"""What is missing that a figure names at most."""


@dataclass(frozen=True)
class Drawn:
    """What came onto paper."""

    values: Sequence[Mapping[str, object]]
    """A line for each drawn value: its file's columns are all names that occur, in their order."""
    remarks: tuple[str, ...] = field(default=())
    """Sentences under the figure: what is missing, and why."""


class Drawing(ABC):
    """A figure's content. Built as `Drawing(spec, figure)`; imports matplotlib only where it draws."""

    def __init__(self, spec: Any, figure: FigureProduct):
        self.spec = spec
        self.figure = figure

    @abstractmethod
    def jobs(self) -> Mapping[str, Job]:
        """The jobs that it reads, by a name of its own for each."""

    def shown(self) -> Mapping[str, tuple[Job, str]]:
        """The results whose content comes onto paper, by the same names: job and file."""
        return {name: (job, METRICS) for name, job in self.jobs().items() if job.stage == "evaluate"}

    @abstractmethod
    def draw(self, canvas: Figure) -> Drawn:
        """Draw what is in the store onto an empty figure, in the style that is set. ArtifactError for what is corrupt.

        A drawing sets the height that it needs; the width is the spec's.
        """

    def identity(self) -> dict[str, Any]:
        """What it depends on besides the figure's spec and jobs, as plain data."""
        return {}

    def why(self, row: str, column: str) -> str | None:
        """Where one of its numbers comes from; None where it has none."""
        return None


class Measured(Drawing):
    """A drawing of numbers that protocols measure: read, spread over seeds and explained as those of a table."""

    def jobs(self) -> Mapping[str, Job]:
        return self.figure.table.jobs()

    def identity(self) -> dict[str, Any]:
        table = self.figure.table
        return {"measured": [[each.label, table.dataset_label(name)] for name, each in table.protocols.items()]}

    def why(self, row: str, column: str) -> str:
        return self.figure.table.why(row, column)

    @cached_property
    def collected(self) -> Table:
        """The numbers that are in the store."""
        from mimflow.products.table.collect import collect

        return collect(self.figure.table)

    @cached_property
    def columns(self) -> dict[tuple[str, str, str], Column]:
        """The columns of the numbers by output, metric and protocol."""
        return {
            (column.output or "", column.metric or "", column.protocol): column
            for column in self.collected.measured.columns
            if column.metric is not None
        }

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str, str], Cell]:
        block = self.collected.measured
        return {
            (row.run, *key): row.cells[block.columns.index(column)]
            for row in block.rows
            for key, column in self.columns.items()
        }

    def cell(self, row: str, output: str, metric: str, protocol: str) -> Cell:
        """A run's number: mean and spread over its seeds, as far as they are there."""
        return self._cells[row, output, metric, protocol]

    def remarks(self) -> tuple[str, ...]:
        """What is not measured yet, and why numbers that were measured have no value."""
        return (*missing(self.figure, self.jobs()), *self.collected.footnotes)


def missing(figure: FigureProduct, jobs: Mapping[str, Job], what: str = "evaluate") -> Iterable[str]:
    """A sentence of those jobs of a stage whose results are not in the store; none if all are."""
    names = [name for name, job in jobs.items() if job.stage == what and not job.done(figure.root)]
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield f"Not there yet: {', '.join(names[:MOST_NAMED])}{more}."
