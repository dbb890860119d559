"""A table as data: what templates set. Texts are plain; a template's filters escape them."""

from __future__ import annotations

from dataclasses import dataclass

from mimflow.metrics.number import Direction
from mimflow.products.table.wording import NOTHING


@dataclass(frozen=True)
class Column:
    """One column: a fact of the training, or a metric of one output."""

    name: str
    """`parameters`, `guided.fid`."""
    heading: str
    """`FID-2k`."""
    label: str = ""
    """The heading without the number of samples."""
    metric: str | None = None
    output: str | None = None
    protocol: str = ""
    """What its numbers are measured under; empty of a fact."""
    digits: int = 2
    direction: Direction | None = None
    """Which end is better; None where neither is."""
    unit: str = ""
    point: str = ""
    """The values of the point of a sweep that it is of, in words."""


@dataclass(frozen=True)
class Group:
    """Columns under one heading; facts have none."""

    heading: str
    columns: tuple[Column, ...]
    output: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class Cell:
    """One entry. Facts and published numbers have only a text, and a value where it is a number."""

    text: str = NOTHING
    value: float | None = None
    """The mean over the seeds that have a value."""
    std: float | None = None
    """The standard deviation over seeds, with n − 1; None for one seed."""
    spread: str = ""
    """`std` as it is printed."""
    n: int = 0
    """Seeds with a value."""
    short: str = ""
    """`2/3` where fewer seeds have a value than were asked for."""
    count: int | None = None
    """Samples that were measured, for each seed."""
    best: bool = False
    """Whether it is the best measured value of its column."""
    marks: tuple[int, ...] = ()
    """Numbers of footnotes."""
    jobs: tuple[str, ...] = ()
    """The evaluate jobs that it comes from."""
    output: str = ""
    """The run's output that was measured: of a sweep the point that was picked, empty if none has a value yet."""
    picked: str = ""
    """Which point of a sweep it is and how it was picked, in words."""


@dataclass(frozen=True)
class Row:
    """A line of a block: a cell for each column."""

    label: str
    run: str
    """Empty for published rows."""
    cells: tuple[Cell, ...]
    source: str = ""
    """Where a published row stands."""


@dataclass(frozen=True)
class Block:
    """Rows whose columns were each measured under one protocol."""

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    protocol: str
    """The name of the protocol of measured rows, that of columns which name no other; of published ones in words."""
    source: str = ""
    """The papers of a published block."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of all groups, in order."""
        return tuple(column for group in self.groups for column in group.columns)

    def output_of(self, row: Row, group: Group) -> str:
        """The output that a row shows in a group of columns: of a sweep the point that was picked."""
        return row.cells[self.columns.index(group.columns[0])].output


@dataclass(frozen=True)
class Table:
    """A table with everything that stands under it."""

    name: str
    title: str
    measured: Block
    footnotes: tuple[str, ...]
    """Numbered from 1."""
    published: tuple[Block, ...]
    protocol: tuple[tuple[str, str], ...]
    """How measured rows were measured: term and text."""
    warnings: tuple[tuple[str, tuple[str, ...]], ...]
    """What trainings found unsound of themselves, by row."""
    deviations: tuple[tuple[str, tuple[str, ...]], ...]
    """Where twins depart from their papers, by row."""
    notes: tuple[str, ...]
    swept: tuple[Block, ...] = ()
    """Every point of the sweeps, measured as their columns and as they are picked by: a block a row and sweep."""
