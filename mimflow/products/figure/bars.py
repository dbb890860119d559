"""Grouped bars with their spread."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mimflow.products.figure import style
from mimflow.products.figure.base import Drawn
from mimflow.products.figure.drawing import BarsDrawing, MeasuredValue
from mimflow.products.figure.lines import Line, Lines, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUP = 0.8
"""Of the distance between groups, what their bars take together."""
LONG = 10
"""Characters of a group's name from which on all are written at a slant."""
SLANTED = 0.4
"""Inches that a figure grows by for names at a slant."""
LINE = 24
"""Characters of a line of a group's name."""


def apart(names: Sequence[str]) -> list[str]:
    """Names without the parts, up to a comma, that all of them begin with: what is left tells them apart."""
    parts = [name.split(", ") for name in names]
    while len(parts) > 1 and all(len(each) > 1 and each[0] == parts[0][0] for each in parts):
        parts = [each[1:] for each in parts]
    return [", ".join(each) for each in parts]


class Bars(Lines):
    """A group of bars for each row, one for each output; a panel for each metric."""

    spec: BarsDrawing

    def draw(self, canvas: Figure) -> Drawn:
        panels: dict[tuple[str, str], list[tuple[MeasuredValue, Line]]] = {}
        for _, value in self.spec.asked:
            key = (value.metric, self.protocol_of(value))
            panels.setdefault(key, []).extend((value, line) for line in self._lines(value))
        names = list(dict.fromkeys(line.name for lines in panels.values() for _, line in lines))
        groups = [self.figure.table_name(row) for row in self.figure.rows]
        axes = style.panels(canvas, len(panels), self.figure.spec.width)
        values: list[dict[str, object]] = []
        remarks: list[str] = []
        texts = ["\n".join(textwrap.wrap(style.drawable(group, 3 * LINE), LINE)) for group in apart(groups)]
        slanted = any(len(text) > LONG for text in texts)
        if slanted:
            style.add_height(canvas, SLANTED)
        for axis, lines in zip(axes, panels.values(), strict=True):
            for place, (value, line) in enumerate(lines):
                self._draw_bars(axis, line, place, len(lines), names.index(line.name))
                values += self.line_values(value, "row", [line])
            axis.set_xticks(
                range(len(groups)), texts, rotation=30 if slanted else 0, ha="right" if slanted else "center"
            )
            axis.grid(visible=False, axis="x")
            axis.set_ylabel(self.metric_label(lines[0][0]))
            remarks += style.logarithmic(axis, False, self.spec.log_y)
        style.legend(canvas, axes)
        return Drawn(values, (*self.remarks(), *dict.fromkeys(remarks)))

    def _lines(self, value: MeasuredValue) -> Iterator[Line]:
        """The bars of one output over all rows: of a sweep those of each point."""
        for output in self.figure.outputs_named(value.output):
            points = [
                Point(self.figure.table_name(row), cell, row, output, row.point_label(value.output, output))
                for row in self.figure.rows
                if output in row.outputs_of(value.output) or output in row.outputs_of(output)
                if (cell := self.found(row, output, value)).value is not None
            ]
            yield Line(self._name(output), tuple(points), joined=False)

    def _name(self, output: str) -> str:
        """What an output's bars are called: `guided, weight 2` where it is a point of a sweep."""
        for row in self.figure.rows:
            for sweep in row.sweeps:
                if output in row.outputs_of(sweep):
                    return f"{sweep}, {row.point_label(sweep, output)}"
        return output

    def _draw_bars(self, axis: Axes, line: Line, place: int, count: int, look: int) -> None:
        groups = [self.figure.table_name(row) for row in self.figure.rows]
        width = GROUP / count
        offset = (place - (count - 1) / 2) * width
        xs = [groups.index(point.x) + offset for point in line.points]
        ys = [point.cell.value for point in line.points if point.cell.value is not None]
        # Of one seed there is no spread, and no mark of one.
        stds = [math.nan if point.cell.std is None else point.cell.std for point in line.points]
        axis.bar(
            xs,
            ys,
            0.94 * width,
            yerr=None if all(map(math.isnan, stds)) else stds,
            label=style.drawable(line.name, 60),
            **style.filling(look),
            error_kw={"elinewidth": 0.8, "capsize": 2},
        )
