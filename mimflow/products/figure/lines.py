"""Curves over a field, a sweep or a training, and trade-offs of two numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimflow.products.figure import style
from mimflow.products.figure.base import Drawn, Measured
from mimflow.products.figure.drawing import (
    Axis,
    CurveDrawing,
    MeasuredValue,
    SnapshotsDrawing,
    TradeoffDrawing,
    swept_fields,
    value_at,
)
from mimflow.products.figure.product import FigureRow
from mimflow.products.table import wording
from mimflow.products.table.model import Cell, Column
from mimflow.spec.words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RING = 70
"""Area in square points of the ring around a best point."""


@dataclass(frozen=True)
class Point:
    """Where a point lies, and what it was measured on."""

    x: Any
    """A number; or anything else, which is told by its text."""
    cell: Cell
    """What it is of the number that is drawn upwards."""
    row: FigureRow
    output: str
    label: str = ""
    """The values of a point of a sweep, in words."""
    across: Cell | None = None
    """The number that is drawn sideways, where one is."""


@dataclass(frozen=True)
class Line:
    """Points that share colour, line and marker, under a name; only those with a value."""

    name: str
    points: tuple[Point, ...]
    joined: bool = True


class Lines(Measured):
    """What curves of numbers share."""

    def protocol_of(self, value: MeasuredValue) -> str:
        """The protocol that a number is measured under."""
        protocol = value.protocol or self.figure.spec.protocol
        assert protocol is not None, "refused by FigureSpec"
        return protocol

    def column_of(self, value: MeasuredValue) -> Column:
        """The column of a number: of a sweep that of any of its points."""
        protocol = self.protocol_of(value)
        names = self.figure.outputs_named(value.output)
        return next(self.columns[name, value.metric, protocol] for name in names)

    def axis_label(self, value: MeasuredValue) -> str:
        """`FID-2k ↓`; with the output's name where other numbers of the figure are called the same."""
        headings = [self.column_of(each).heading for _, each in self.spec.asked]
        several = headings.count(self.column_of(value).heading) > 1
        return self.metric_label(value, f", {value.output}" if several else "")

    def metric_label(self, value: MeasuredValue, of: str = "") -> str:
        """The same without the output's name, but for what is given of it."""
        column = self.column_of(value)
        unit = f" ({column.unit})" if column.unit else ""
        arrow = {"lower": " ↓", "higher": " ↑"}.get(column.direction or "", "")
        return style.drawable(column.heading + of + unit + arrow)

    def found(self, row: FigureRow, output: str, value: MeasuredValue) -> Cell:
        """A run's number of one of its outputs."""
        return self.cell(row.name, output, value.metric, self.protocol_of(value))

    def line_values(self, value: MeasuredValue, x_of: str, lines: Iterable[Line]) -> Iterator[dict[str, object]]:
        """The drawn points of a number as lines of the file of values."""
        for line in lines:
            for point in line.points:
                across = point.across
                yield {
                    "series": line.name,
                    "run": point.row.name if point.row.spec is not None else "",
                    "output": point.output,
                    "x_of": x_of,
                    "x": plain(point.x) if not isinstance(point.x, (int, float)) else point.x,
                    **({"x_std": across.std} if across is not None else {}),
                    "y_of": value.name,
                    "y": point.cell.value,
                    "y_std": point.cell.std,
                    "n": point.cell.n,
                    "protocol": self.protocol_of(value),
                    "key": " ".join(dict.fromkeys((*(across.jobs if across is not None else ()), *point.cell.jobs))),
                }

    def draw_panels(
        self, canvas: Figure, x_label: str, x_of: str, panels: Sequence[tuple[MeasuredValue, list[Line]]]
    ) -> Drawn:
        """A panel for each number, and one legend."""
        axes = style.panels(canvas, len(panels), self.figure.spec.width)
        values: list[dict[str, object]] = []
        remarks: list[str] = []
        names = list(dict.fromkeys(line.name for _, lines in panels for line in lines))
        for axis, (value, lines) in zip(axes, panels, strict=True):
            places = categories(lines)
            for line in lines:
                draw_line(axis, line, style.look(names.index(line.name)), places)
                if getattr(self.spec, "best", False):
                    ring_best(axis, line, self.column_of(value), style.look(names.index(line.name)), places)
            if places is not None:
                texts = [style.drawable(text, 30) for text in places]
                axis.set_xticks(range(len(texts)), texts, rotation=30 if max(map(len, texts)) > 8 else 0, ha="center")
            log_x = getattr(self.spec, "log_x", False) and places is None
            remarks += style.logarithmic(axis, log_x, self.spec.log_y)
            if log_x:
                style.number_points(axis, [point.x for line in lines for point in line.points])
            axis.set(xlabel=style.drawable(x_label), ylabel=self.axis_label(value))
            values += self.line_values(value, x_of, lines)
        style.legend(canvas, axes)
        return Drawn(values, (*self.remarks(), *dict.fromkeys(remarks)))


class Curves(Lines):
    """Numbers over a field of the runs, a fact of their trainings, or the points of a sweep."""

    spec: CurveDrawing

    def draw(self, canvas: Figure) -> Drawn:
        axis = self.spec.x
        panels = [
            (value, list(self._of_sweep(value, axis) if axis.sweep is not None else self._of_runs(value, axis)))
            for _, value in self.spec.asked
        ]
        drawn = self.draw_panels(canvas, self._x_label(axis), axis.name, panels)
        if axis.fact in ("parameters", "prior_parameters"):
            for panel in canvas.axes:
                panel.xaxis.set_major_formatter(lambda value, _: wording.parameter_count(round(value)))
        return drawn

    def _x_label(self, axis: Axis) -> str:
        if axis.label is not None:
            return axis.label
        if axis.fact is not None:
            return wording.fact(axis.fact)
        if axis.sweep is not None and axis.field is None:
            sweeps = [row.sweeps[axis.sweep] for row in self.figure.rows]
            return _last(swept_fields(sweeps[0])[0])
        return _last(axis.field or "")

    def _of_sweep(self, value: MeasuredValue, axis: Axis) -> Iterator[Line]:
        """A curve for each run, and for each combination of what else the output sweeps."""
        for row in self.figure.rows:
            sweep = row.sweeps[axis.sweep or ""]
            field = axis.field or swept_fields(sweep)[0]
            curves: dict[str, list[Point]] = {}
            for point in sweep.points:
                others = [f"{_last(name)} {plain(given)}" for name, given in point.values.items() if name != field]
                cell = self.found(row, point.name, value)
                name = ", ".join([self.figure.table_name(row), *others])
                if cell.value is not None:
                    x = point.values[field]
                    curves.setdefault(name, []).append(Point(x, cell, row, point.name, point.label))
            yield from (Line(name, in_order(points)) for name, points in curves.items())

    def _of_runs(self, value: MeasuredValue, axis: Axis) -> Iterator[Line]:
        """A curve for each ablation, and for the rows that share a label."""
        curves: dict[str, list[Point]] = {}
        for row in self.figure.rows:
            x = self._place(row, axis)
            for output in row.outputs_of(value.output):
                cell = self.found(row, output, value)
                label = row.point_label(value.output, output)
                if cell.value is not None and x is not None:
                    name = f"{row.series}, {label}" if label else row.series
                    curves.setdefault(name, []).append(Point(x, cell, row, output, label))
        yield from (Line(name, in_order(points)) for name, points in curves.items())

    def _place(self, row: FigureRow, axis: Axis) -> Any:
        """Where a run lies; None of a training that is not there yet."""
        assert row.spec is not None, "samples have no fields"
        if axis.field is not None:
            found = value_at(row.spec, axis.field)
            return "none" if found is None else found
        return self.figure.fact(row, axis.fact or "")


class Snapshots(Lines):
    """Numbers over a training, by the share of the phase at which each output's snapshot was taken."""

    spec: SnapshotsDrawing

    def draw(self, canvas: Figure) -> Drawn:
        panels = [(value, list(self._lines(value))) for _, value in self.spec.asked]
        return self.draw_panels(canvas, "share of the training (%)", "snapshot", panels)

    def _lines(self, value: MeasuredValue) -> Iterator[Line]:
        curves: dict[str, list[Point]] = {}
        for row in self.figure.rows:
            assert row.spec is not None, "samples have no training"
            for output in row.outputs_of(value.output):
                cell, snapshot = self.found(row, output, value), row.spec.outputs[output].snapshot
                if cell.value is not None:
                    x = 100.0 * (1.0 if snapshot is None else snapshot)
                    curves.setdefault(row.series, []).append(Point(x, cell, row, output))
        yield from (Line(name, in_order(points)) for name, points in curves.items())


class Tradeoff(Lines):
    """One number over another."""

    spec: TradeoffDrawing

    def draw(self, canvas: Figure) -> Drawn:
        x, y = (value for _, value in self.spec.asked)
        lines = list(self._lines(x, y))
        (axis,) = style.panels(canvas, 1, self.figure.spec.width)
        for place, line in enumerate(lines):
            draw_line(axis, line, style.look(place), None)
            for point in (line.points[0], line.points[-1]) if line.joined and len(line.points) > 1 else ():
                if point.label:
                    name_point(axis, point)
        remarks = style.logarithmic(axis, self.spec.log_x, self.spec.log_y)
        axis.set(xlabel=self.axis_label(x), ylabel=self.axis_label(y))
        style.legend(canvas, [axis])
        return Drawn(list(self.line_values(y, x.name, lines)), (*self.remarks(), *remarks))

    def _lines(self, x: MeasuredValue, y: MeasuredValue) -> Iterator[Line]:
        series: dict[str, list[Point]] = {}
        swept: set[str] = set()
        for row in self.figure.rows:
            name = row.series if row.named else self.figure.table_name(row)
            for x_output, y_output in self._pairs(row, x.output, y.output):
                across, cell = self.found(row, x_output, x), self.found(row, y_output, y)
                if across.value is None or cell.value is None:
                    continue
                of = y.output if y_output != y.output else x.output
                point = y_output if y_output != y.output else x_output
                label = row.point_label(of, point) if of in row.sweeps else ""
                swept |= {name} if label else set()
                series.setdefault(name, []).append(Point(across.value, cell, row, point, label, across))
        for name, points in series.items():
            yield Line(name, tuple(points), self.spec.join or name in swept)

    @staticmethod
    def _pairs(row: FigureRow, x: str, y: str) -> list[tuple[str, str]]:
        """The outputs that make a point each: of a sweep point by point."""
        xs, ys = row.outputs_of(x), row.outputs_of(y)
        return [(one, one) for one in xs] if x == y else [(one, other) for one in xs for other in ys]


def _last(field: str) -> str:
    """`phases.main.optimizer.lr` → `lr`."""
    return field.rpartition(".")[2].replace("_", " ")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def in_order(points: Sequence[Point]) -> tuple[Point, ...]:
    """Points from left to right where they lie at numbers; otherwise as they are."""
    if all(_is_number(point.x) for point in points):
        return tuple(sorted(points, key=lambda point: point.x))
    return tuple(points)


def categories(lines: Sequence[Line]) -> list[str] | None:
    """The texts of places that are not all numbers, in their order; None where all are."""
    places = [point.x for line in lines for point in line.points]
    if all(map(_is_number, places)):
        return None
    return list(dict.fromkeys(map(plain, places)))


def draw_line(axis: Axes, line: Line, look: dict[str, Any], places: list[str] | None) -> None:
    """Points and what joins them; the spread as a band under curves over numbers, as bars elsewhere."""
    xs, ys, stds = _arrays(line, places)
    look = look if line.joined else look | {"linestyle": "none"}
    axis.plot(xs, ys, label=style.drawable(line.name, 60), **look)
    if not any(std is not None for std in stds):
        return
    spread = [std or 0.0 for std in stds]
    across = [point.across.std or 0.0 if point.across is not None else 0.0 for point in line.points]
    if places is None and line.joined and len(xs) > 1 and not any(across):
        low, high = ([y + sign * std for y, std in zip(ys, spread, strict=True)] for sign in (-1, 1))
        axis.fill_between(xs, low, high, color=look["color"], alpha=0.18, linewidth=0)
    else:
        sideways = across if any(across) else None
        axis.errorbar(xs, ys, spread, sideways, fmt="none", ecolor=look["color"], elinewidth=0.8, capsize=2)


def _arrays(line: Line, places: list[str] | None) -> tuple[list[Any], list[float], list[float | None]]:
    xs = [point.x if places is None else places.index(plain(point.x)) for point in line.points]
    ys = [point.cell.value for point in line.points if point.cell.value is not None]
    return xs, ys, [point.cell.std for point in line.points]


def ring_best(axis: Axes, line: Line, column: Column, look: dict[str, Any], places: list[str] | None) -> None:
    """A ring around the best point of a line; of equal ones the first. None where no end is the better one."""
    if column.direction is None or not line.points:
        return
    xs, ys, _ = _arrays(line, places)
    best = min(ys) if column.direction == "lower" else max(ys)
    place = ys.index(best)
    axis.scatter([xs[place]], [best], s=RING, facecolors="none", edgecolors=look["color"], linewidths=1.0, zorder=3)


def name_point(axis: Axes, point: Point) -> None:
    """A point's label beside it."""
    assert point.cell.value is not None
    axis.annotate(
        style.drawable(point.label, 40),
        (point.x, point.cell.value),
        xytext=(4, 3),
        textcoords="offset points",
        fontsize=style.SMALL,
    )
