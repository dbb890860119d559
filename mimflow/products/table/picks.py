"""Sweeps in tables: which point a row shows, what it was picked by, and the whole curve."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mimflow.plan.build import Measurement
from mimflow.products.table import wording
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.results import Result


@dataclass(frozen=True)
class Picked:
    """The point of a sweep that a row shows."""

    output: str
    """The output that the point is."""
    text: str
    """`weight 1.5, the best of 5 by FID, picked on …`: what stands with its numbers."""


@dataclass(frozen=True)
class CurvePoint:
    """What a point of a sweep was found to have of the number that the sweep is picked by."""

    output: str
    label: str
    values: tuple[float, ...]
    """Of each seed that it is picked on, as far as there are any."""
    asked: int
    """How many seeds it is picked on."""
    jobs: tuple[str, ...]
    """The evaluate jobs that they come from."""
    count: int | None
    """Images that were measured, if that is the same for all seeds."""

    @property
    def mean(self) -> float | None:
        """The mean over the seeds; None where one is missing, since means over others are not compared."""
        return statistics.fmean(self.values) if self.values and len(self.values) == self.asked else None


def curve(table: TableProduct, row: PlannedRow, output: str, found: Mapping[str, Result]) -> list[CurvePoint]:
    """Every point of a row's sweep, in order, with the number that the table picks by."""
    sweep, pick = row.sweeps[output], table.spec.picks[output]
    points = []
    for name in sweep.names:
        asked = [measurement for measurement in row.picked_by[output] if measurement.output == name]
        there = [measurement.evaluate.id for measurement in asked if measurement.evaluate.id in found]
        values = [found[job].values[pick.metric].value for job in there]
        counts = {found[job].count for job in there}
        points.append(
            CurvePoint(
                output=name,
                label=sweep.label(name),
                values=tuple(value for value in values if value is not None),
                asked=len(asked),
                jobs=tuple(there),
                count=counts.pop() if len(counts) == 1 else None,
            )
        )
    return points


def picked_point(table: TableProduct, row: PlannedRow, output: str, found: Mapping[str, Result]) -> Picked | None:
    """The best point of a row's sweep; None where no point has a value yet. Of equal ones the first."""
    pick = table.spec.picks[output]
    number = table.picking_protocol(pick).numbers[pick.metric]
    points = curve(table, row, output, found)
    means = {point.output: point.mean for point in points}
    compared = {name: mean for name, mean in means.items() if mean is not None}
    if not compared:
        return None
    best = min(compared, key=lambda name: compared[name] * (1 if number.direction == "lower" else -1))
    left_out = len(points) - len(compared)
    without = f" ({left_out} more without a value)" if left_out else ""
    label = row.sweeps[output].label(best)
    text = f"{label}, the best of {len(compared)}{without} by {number.label}, picked {_where(table, row, output)}"
    return Picked(best, text)


def _where(table: TableProduct, row: PlannedRow, output: str) -> str:
    """On what a sweep is picked, and whether that is what the table shows."""
    pick = table.spec.picks[output]
    protocol = pick.protocol or table.spec.protocol
    names = row.sweeps[output].names
    shown = _ids(each for each in row.measured if each.output in names and each.protocol == protocol)
    if _ids(row.picked_by[output]) == shown:
        return "on the numbers that are shown"
    seeds = sorted({measurement.seed for measurement in row.picked_by[output]})
    under = "" if pick.protocol in (None, table.spec.protocol) else f" under protocol {pick.protocol}"
    others = "other seeds" if not set(seeds) & set(row.trained) else "seeds"
    return f"{under} on {others}: {', '.join(map(str, seeds))}".lstrip()


def _ids(measurements: Iterator[Measurement] | tuple[Measurement, ...]) -> set[str]:
    return {measurement.evaluate.id for measurement in measurements}


def picks(table: TableProduct, found: Mapping[str, Result]) -> dict[tuple[str, str], Picked]:
    """What each row shows of each sweep, by run and by the name that columns give the sweep."""
    points = {
        (row.run, output): picked_point(table, row, output, found)
        for row in table.rows
        for output in table.spec.picks
        if output in row.sweeps
    }
    return {place: point for place, point in points.items() if point is not None}


def heading_suffix(table: TableProduct, output: str) -> str:
    """`, best of 5 by FID`: what a sweep's heading ends with; nothing for other outputs."""
    pick = table.spec.picks.get(output)
    if pick is None:
        return ""
    sizes = {len(row.sweeps[output].points) for row in table.rows if output in row.sweeps}
    label = table.picking_protocol(pick).numbers[pick.metric].label
    return f", best of {sizes.pop()} by {label}" if len(sizes) == 1 else f", best by {label}"


def sweep_lines(table: TableProduct, found: Mapping[str, Result]) -> Iterator[tuple[str, str]]:
    """Terms and texts under a table: the curve of each sweep, row by row, in the number that it is picked by."""
    for output, pick in table.spec.picks.items():
        number = table.picking_protocol(pick).numbers[pick.metric]
        texts = []
        for row in table.rows:
            if output in row.sweeps:
                found_points = curve(table, row, output, found)
                values = [f"{point.label}: {_shown(point, number.digits)}" for point in found_points]
                where = _where(table, row, output)
                texts.append((table.row_name(row), f"{number.label} at {'; '.join(values)}; picked {where}"))
        yield f"Sweep {output}", wording.by_row(texts)


def _shown(point: CurvePoint, digits: int) -> str:
    if point.mean is None:
        return wording.NOTHING
    spread = f" ± {wording.decimals(statistics.stdev(point.values), digits)}" if len(point.values) > 1 else ""
    return wording.decimals(point.mean, digits) + spread
