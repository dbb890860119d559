"""What metrics find as functions: spectra of power, autocorrelations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mimflow.artifacts.curves import CURVES, Curve, read_curves
from mimflow.metrics.number import CurveNumber
from mimflow.plan.build import Measurement
from mimflow.plan.jobs import Job
from mimflow.products.figure import style
from mimflow.products.figure.base import Drawing, Drawn, missing
from mimflow.products.figure.drawing import POWER, SpectrumDrawing
from mimflow.products.figure.product import FigureRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCES = {"image_spectrum": "reference_spectrum", "difference_spectrum": "difference_spectrum_reference"}
"""The functions that are the reference's, by those that are the images'."""


class Spectrum(Drawing):
    """A panel for each function, a curve for each run: the mean over seeds, with their spread as a band."""

    spec: SpectrumDrawing

    @property
    def _protocol(self) -> str:
        assert self.figure.spec.protocol is not None, "refused by FigureSpec"
        return self.figure.spec.protocol

    @cached_property
    def _measured(self) -> list[tuple[FigureRow, str, Measurement]]:
        """Each row, a name in the legend, and what is measured for a seed."""
        return [
            (row, self._name(row, output), self.figure.plan.measure(row.name, output, self._protocol, seed))
            for row in self.figure.rows
            for output in row.outputs_of(self.spec.output)
            for seed in row.seeds
        ]

    def _name(self, row: FigureRow, output: str) -> str:
        label = row.point_label(self.spec.output, output)
        return ", ".join([self.figure.table_name(row), *([label] if label else [])])

    def jobs(self) -> Mapping[str, Job]:
        return {
            f"{each.run}.s{each.seed}.{each.output}.{each.protocol}": each.evaluate for _, _, each in self._measured
        }

    def shown(self) -> Mapping[str, tuple[Job, str]]:
        return {name: (job, CURVES) for name, job in self.jobs().items()}

    @property
    def _curves(self) -> list[CurveNumber]:
        """The functions that have a panel each."""
        contents = {each.infer.task.output.content for _, _, each in self._measured if each.infer is not None}  # type: ignore[attr-defined]
        metrics = self.figure.plan.workspace.protocols[self._protocol].spec.metrics
        fitting = {
            curve.name: curve for metric in metrics if contents & set(metric.measures) for curve in metric.curves
        }
        asked = self.spec.curves
        if asked is None:
            asked = [name for name in fitting if POWER in name and name not in REFERENCES.values()]
        return [fitting[name] for name in asked if name in fitting]

    def draw(self, canvas: Figure) -> Drawn:
        found: list[tuple[FigureRow, str, Measurement, dict[str, Curve]]] = []
        for row, name, each in self._measured:
            artifact = each.evaluate.result(self.figure.root)
            if artifact is not None:
                found.append((row, name, each, read_curves(artifact)))
        curves = self._curves
        remarks = list(missing(self.figure, self.jobs()))
        if not curves:
            return Drawn([], (*remarks, f"No metric of the protocol finds a spectrum of '{self.spec.output}'."))
        names = list(dict.fromkeys(name for _, name, _ in self._measured))
        axes = style.panels(canvas, len(curves), self.figure.spec.width)
        values: list[dict[str, object]] = []
        for axis, curve in zip(axes, curves, strict=True):
            for place, name in enumerate(names):
                of = [(each, there) for _, label, each, there in found if label == name]
                remarks += self._without(name, curve.name, [there for _, there in of])
                drawn = _mean([there[curve.name] for _, there in of if curve.name in there])
                _draw_curve(axis, drawn, name, style.look(place) | {"marker": ""})
                values += self._values(name, curve, drawn, [each for each, _ in of])
            reference = REFERENCES.get(curve.name, "")
            theirs = [there[reference] for *_, there in found if reference in there]
            if self.spec.reference and theirs:
                look = {"color": "black", "linestyle": (0, (1, 1)), "linewidth": 1.0}
                drawn = _mean(theirs[:1])
                _draw_curve(axis, drawn, "reference", look)
                values += self._values("reference", curve, drawn, [])
            if POWER in curve.name:
                remarks += style.logarithmic(axis, True, True)
            axis.set(xlabel=style.drawable(curve.of), ylabel=style.drawable(curve.label))
        style.legend(canvas, axes)
        return Drawn(values, tuple(dict.fromkeys(remarks)))

    def _without(self, name: str, curve: str, found: list[dict[str, Curve]]) -> Iterator[str]:
        if found and not any(curve in there for there in found):
            yield f"{name} has no '{curve}': its evaluation says why (mimflow why)."

    def _values(
        self, name: str, curve: CurveNumber, drawn: list[dict[str, Any]], measured: list[Measurement]
    ) -> Iterator[dict[str, object]]:
        key = " ".join(each.evaluate.id for each in measured)
        for each in drawn:
            yield {
                "series": name,
                "x_of": curve.of,
                "y_of": curve.name,
                **each,
                "protocol": self._protocol,
                "key": key,
            }


def _mean(curves: list[Curve]) -> list[dict[str, Any]]:
    """The mean of functions at the same places, with their spread: of one alone there is none."""
    if not curves:
        return []
    values = np.stack([curve.values for curve in curves])
    spread = values.std(0, ddof=1) if len(curves) > 1 else [None] * values.shape[1]
    return [
        {"x": float(x), "y": float(y), "y_std": None if std is None else float(std), "n": len(curves)}
        for x, y, std in zip(curves[0].places, values.mean(0), spread, strict=True)
    ]


def _draw_curve(axis: Axes, drawn: list[dict[str, Any]], name: str, look: dict[str, Any]) -> None:
    xs, ys = [each["x"] for each in drawn], [each["y"] for each in drawn]
    axis.plot(xs, ys, label=style.drawable(name, 60), **look)
    if drawn and drawn[0]["y_std"] is not None:
        low, high = ([each["y"] + sign * each["y_std"] for each in drawn] for sign in (-1, 1))
        axis.fill_between(xs, low, high, color=look["color"], alpha=0.18, linewidth=0)
