"""A table as data: what templates set. Texts are plain; a template's filters escape them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
class Change:
    """How a cell differs from that of the baseline's row."""

    value: float
    """The cell's value minus the baseline's."""
    text: str
    """`−3.2`."""
    verdict: Literal["better", "worse", ""] = ""
    """Empty where it does not exceed the noise, where that can't be told, and where no end is the better one."""
    interval: tuple[float, float] | None = None
    """Of the difference, as far as the spread of seeds tells it."""

    @property
    def words(self) -> str:
        """`−3.2, better`."""
        return f"{self.text}, {self.verdict}" if self.verdict else self.text


@dataclass(frozen=True)
class Counterpart:
    """What a paper gives where a cell has what was measured here."""

    value: float
    text: str
    """As it is printed there."""
    difference: float
    """The measured value minus the published one."""
    difference_text: str


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
    seeds: tuple[tuple[int, float], ...] = ()
    """The value of each seed that has one."""
    own_std: float | None = None
    """Of one seed: the spread over the metric's own splits or subsets, where it has any."""
    best: bool = False
    """Whether it is the best measured value of its column, by more than the noise."""
    second: bool = False
    """Whether it is the second best beside a best one, by more than the noise."""
    change: Change | None = None
    """Against the baseline's row, where the table has one."""
    published: Counterpart | None = None
    """Where the row names a published entry that has the number, too."""
    marks: tuple[int, ...] = ()
    """Numbers of footnotes."""
    jobs: tuple[str, ...] = ()
    """The jobs that it comes from: evaluations; of a fact, the training."""
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
    """The papers of published rows."""

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
    rules: tuple[str, ...] = ()
    """What bold, underlined and bracketed numbers mean, in sentences."""
    compared: tuple[Block, ...] = ()
    """Measured rows that name a published entry: what was measured, what was published, the difference; one block a
    file of published numbers."""
    swept: tuple[Block, ...] = ()
    """Every point of the sweeps, measured as their columns and as they are picked by: a block a row and sweep."""
