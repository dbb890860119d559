"""Which differences between rows exceed the noise: what is bold, what is underlined, what a change is called.

With several seeds on both sides, Welch's interval of the difference of means (Welch 1947, with Satterthwaite's degrees
of freedom). With several on one side, the one seed is taken to vary as they do (Crawford and Howell 1998: t with n − 1
degrees of freedom, spread s √(1 + 1/n)). With one seed on either side, the spread over the metric's own splits or
subsets, where it has any, doubled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mimflow.products.table import wording
from mimflow.products.table.model import Cell, Change, Column, Row
from mimflow.project.claim import CONFIDENCE

OWN_SPREADS = 2
"""Spreads of the metric's own that a difference between two seeds has to exceed."""
MARKS = (
    "Bold: the best of a column, where it differs from every other row by more than the noise. "
    "Underlined: the second best beside it, where it differs from the rest by more than the noise."
)
SEEDS = (
    f"A difference exceeds the noise where its {CONFIDENCE:.0%} interval leaves out 0, Welch's over the seeds of both "
    "rows; a row of one seed is taken to vary as the other does."
)
ONE_SEED = (
    "Between two rows of one seed each, a difference d exceeds the noise where the metric has a spread s over splits "
    f"or subsets of its own and |d| > {OWN_SPREADS} √(s₁² + s₂²): that says nothing of other seeds."
)


def interval(first: Cell, second: Cell) -> tuple[float, float] | None:
    """The interval of the first's value minus the second's, at `CONFIDENCE`; None where seeds do not tell it."""
    if first.value is None or second.value is None or max(first.n, second.n) < 2:
        return None
    one, other = (_deviation(cell, beside) for cell, beside in ((first, second), (second, first)))
    parts = (one**2 / first.n, other**2 / second.n)
    degrees = _degrees(first.n, second.n, parts)
    half = _quantile(degrees) * math.sqrt(sum(parts)) if sum(parts) else 0.0
    difference = first.value - second.value
    return difference - half, difference + half


def _deviation(cell: Cell, beside: Cell) -> float:
    """The standard deviation over seeds; that of the cell beside it where there is one seed."""
    std = beside.std if cell.std is None else cell.std
    assert std is not None
    return std


def _degrees(n: int, m: int, parts: tuple[float, float]) -> float:
    """Satterthwaite's degrees of freedom of a sum of two squared standard errors; n − 1 against one seed."""
    if min(n, m) < 2:
        return max(n, m) - 1
    return float(sum(parts)) ** 2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)) if sum(parts) else 1.0


def _quantile(degrees: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))


def exceeds(first: Cell, second: Cell, digits: int) -> bool | None:
    """Whether two cells differ by more than the noise; equal as printed is equal. None where that can't be told."""
    assert first.value is not None and second.value is not None
    if round(first.value, digits) == round(second.value, digits):
        return False
    within = interval(first, second)
    if within is not None:
        return within[0] > 0 or within[1] < 0
    if first.own_std is None or second.own_std is None:
        return None
    return abs(first.value - second.value) > OWN_SPREADS * math.hypot(first.own_std, second.own_std)


# -- rows ----------------------------------------------------------------------------------------------------------


def judged(rows: Sequence[Row], columns: Sequence[Column], baseline: str | None) -> tuple[Row, ...]:
    """The same rows with the best and second best of each column marked, and their changes against the baseline's."""
    marked = [list(row.cells) for row in rows]
    for index, column in enumerate(columns):
        for place, mark in _marks([row.cells[index] for row in rows], column):
            cell = marked[place][index]
            marked[place][index] = replace(cell, best=True) if mark == "best" else replace(cell, second=True)
    against = next((row.cells for row in rows if row.run == baseline), None) if baseline is not None else None
    for row, cells in zip(rows, marked, strict=True):
        if against is not None and row.run != baseline:
            cells[:] = [
                replace(cell, change=_change(cell, beside, column))
                for cell, beside, column in zip(cells, against, columns, strict=True)
            ]
    return tuple(replace(row, cells=tuple(cells)) for row, cells in zip(rows, marked, strict=True))


def _ranked(cells: Sequence[Cell], column: Column) -> list[int]:
    """The places of the cells that have a value, the best first; none where no end is the better one."""
    sign = {"lower": 1, "higher": -1}.get(column.direction or "", 0)
    valued = [(sign * cell.value, place) for place, cell in enumerate(cells) if cell.value is not None]
    return [place for _, place in sorted(valued)] if sign else []


def _marks(cells: Sequence[Cell], column: Column) -> Iterator[tuple[int, str]]:
    """The places of the best and of the second best, as far as there are any. One value alone is no best."""
    ranked = _ranked(cells, column)
    for mark in ("best", "second"):
        first, *rest = ranked or [0]
        if not rest or not all(exceeds(cells[first], cells[place], column.digits) for place in rest):
            return
        yield first, mark
        ranked = rest


def _change(cell: Cell, beside: Cell, column: Column) -> Change | None:
    if cell.value is None or beside.value is None:
        return None
    value = cell.value - beside.value
    found = Change(value, wording.signed(value, column.digits), interval=interval(cell, beside))
    if column.direction is None or not exceeds(cell, beside, column.digits):
        return found
    return replace(found, verdict="better" if (value < 0) == (column.direction == "lower") else "worse")


# -- what is printed of it -----------------------------------------------------------------------------------------


def rules(rows: Sequence[Row], columns: Sequence[Column], baseline: str) -> tuple[str, ...]:
    """What marks and brackets mean, in sentences; none where nothing is compared. `baseline` is its row's name."""
    several = {index for index, column in enumerate(columns) if len(_ranked(_column(rows, index), column)) > 1}
    untold = [columns[index] for index in sorted(several) if not _told(_column(rows, index), columns[index])]
    texts = [MARKS] if several else []
    if baseline:
        texts.append(f"In brackets: the change against {baseline}, better or worse where it exceeds the noise.")
    if texts:
        texts += _noise([[cell.n for cell in _column(rows, index)] for index in range(len(columns))])
    if untold:
        which = "any column" if len(untold) == len(several) else wording.listed([_name(column) for column in untold])
        texts.append(f"What is best in {which} can't be told: one seed, and no spread of the metric's own.")
    return tuple(texts)


def _noise(counts: Sequence[Sequence[int]]) -> list[str]:
    """What noise is, as far as the seeds that cells of a column have ask for it."""
    several = any(max(column) > 1 and len([n for n in column if n]) > 1 for column in counts)
    alone = any(column.count(1) > 1 for column in counts)
    return [*([SEEDS] if several else []), *([ONE_SEED] if alone else [])]


def _column(rows: Sequence[Row], index: int) -> list[Cell]:
    return [row.cells[index] for row in rows]


def _told(cells: Sequence[Cell], column: Column) -> bool:
    """Whether the noise between the best and every other is known."""
    first, *rest = _ranked(cells, column)
    return all(exceeds(cells[first], cells[place], column.digits) is not None for place in rest)


def _name(column: Column) -> str:
    return f"{column.heading} ({column.output})"
