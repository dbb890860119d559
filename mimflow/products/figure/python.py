"""Figures that a user's own function draws from a data frame of the measured values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mimflow.products.figure import style
from mimflow.products.figure.base import Drawn, Measured
from mimflow.products.figure.drawing import MeasuredValue, PythonDrawing
from mimflow.products.figure.function import call, sources
from mimflow.products.figure.product import FigureRow
from mimflow.products.table.results import Result, results
from mimflow.spec.words import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Python(Measured):
    """What a function makes of a line for each row, seed and number."""

    spec: PythonDrawing

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "sources": sources(self.spec.function, self.figure.root)}

    def draw(self, canvas: Figure) -> Drawn:
        import pandas

        values = list(self.values())
        canvas.set_size_inches(style.WIDTHS[self.figure.spec.width], self.spec.height)
        if values:
            frame = pandas.DataFrame(values, columns=list(dict.fromkeys(name for each in values for name in each)))
            call(self.spec.function, self.figure.root, self.figure.name, frame, canvas)
        else:
            style.nothing(canvas, "nothing measured yet")
        return Drawn(values, self.remarks())

    def values(self) -> Iterator[dict[str, object]]:
        """A line for each row, output, number and seed that is in the store."""
        found = results(self.figure.table, self.figure.root)
        for row, planned in zip(self.figure.rows, self.figure.table.rows, strict=True):
            for _, value in self.spec.asked:
                protocol = value.protocol or self.figure.spec.protocol
                for output in row.outputs_of(value.output):
                    for each in planned.measured:
                        measured = found.get(each.evaluate.id)
                        if measured is not None and (each.output, each.protocol) == (output, protocol):
                            yield self._line(row, value, output, each.seed, each.protocol, measured) | {
                                "key": each.evaluate.id
                            }

    def _line(
        self, row: FigureRow, value: MeasuredValue, output: str, seed: int, protocol: str, found: Result
    ) -> dict[str, object]:
        number = found.values[value.metric]
        return {
            "row": self.figure.table_name(row),
            "run": row.name if row.spec is not None else "",
            "seed": seed,
            "output": value.output,
            "point": row.point_label(value.output, output),
            "metric": value.metric,
            "protocol": protocol,
            "value": number.value,
            "reason": number.reason or "",
            **{name: _simple(given) for name, given in (row.varied | row.point_values(value.output, output)).items()},
        }


def _simple(value: Any) -> object:
    """A value of a spec as a cell of a data frame: lists and mappings as text."""
    return plain(value) if isinstance(value, (list, dict)) else value
