"""Curves of training: figures of logs over steps or epochs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mimflow.artifacts.log import LOG, read_log
from mimflow.plan.jobs import Job
from mimflow.products.figure import style
from mimflow.products.figure.base import Drawing, Drawn, missing
from mimflow.products.figure.drawing import TrainingDrawing
from mimflow.products.figure.product import FigureRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Logged = tuple[str, Job, list[dict[str, float]]]
"""A run's label, a job of its training and the rows of its log."""


class Training(Drawing):
    """A panel for each figure, a curve for each run: the mean over seeds, with their spread as a band."""

    spec: TrainingDrawing

    @cached_property
    def _trained(self) -> list[tuple[FigureRow, str, Job]]:
        found = []
        for row in self.figure.rows:
            assert row.spec is not None, "refused by FigureSpec"
            phase = self.spec.phase or row.spec.last_phase
            assert phase is not None, "refused by TrainingDrawing"
            for seed in row.seeds:
                job = self.figure.plan.train(row.name, phase, seed)
                found.append((row, f"{row.name}.{phase}.s{seed}", job))
        return found

    def jobs(self) -> Mapping[str, Job]:
        return {name: job for _, name, job in self._trained}

    def shown(self) -> Mapping[str, tuple[Job, str]]:
        return {name: (job, LOG) for _, name, job in self._trained}

    def draw(self, canvas: Figure) -> Drawn:
        logged: list[Logged] = []
        for row, _, job in self._trained:
            artifact = job.result(self.figure.root)
            if artifact is not None:
                logged.append((self.figure.table_name(row), job, read_log(artifact)))
        axes = style.panels(canvas, len(self.spec.y), self.figure.spec.width)
        labels = list(dict.fromkeys(self.figure.table_name(row) for row, _, _ in self._trained))
        values: list[dict[str, object]] = []
        remarks = list(missing(self.figure, self.jobs(), "train"))
        for axis, column in zip(axes, self.spec.y, strict=True):
            for place, label in enumerate(labels):
                of = [(job, rows) for name, job, rows in logged if name == label]
                curve = self._curve(of, column)
                if of and not curve:
                    remarks.append(f"The log of {label} has no '{column}'.")
                self._draw_curve(axis, curve, label, place)
                key = " ".join(job.id for job, _ in of)
                values += [{"series": label, "x_of": self.spec.x, "y_of": column, **each, "key": key} for each in curve]
            remarks += style.logarithmic(axis, self.spec.log_x, self.spec.log_y)
            axis.set(xlabel=self.spec.x, ylabel=style.drawable(column))
        style.legend(canvas, axes)
        return Drawn(values, tuple(dict.fromkeys(remarks)))

    def _curve(self, logs: list[tuple[Job, list[dict[str, float]]]], column: str) -> list[dict[str, Any]]:
        """The mean over seeds at every place that a log has the column at."""
        found: dict[float, list[float]] = {}
        for _, rows in logs:
            for row in rows:
                if column in row:
                    found.setdefault(row[self.spec.x], []).append(row[column])
        return [
            {
                "x": x,
                "y": statistics.fmean(ys),
                "y_std": statistics.stdev(ys) if len(ys) > 1 else None,
                "n": len(ys),
            }
            for x, ys in sorted(found.items())
        ]

    def _draw_curve(self, axis: Axes, curve: list[dict[str, Any]], label: str, place: int) -> None:
        look = style.look(place) | {"marker": "." if len(curve) == 1 else ""}
        xs, ys = [each["x"] for each in curve], [each["y"] for each in curve]
        axis.plot(xs, ys, label=style.drawable(label, 60), **look)
        if any(each["y_std"] is not None for each in curve):
            low, high = ([each["y"] + sign * (each["y_std"] or 0.0) for each in curve] for sign in (-1, 1))
            axis.fill_between(xs, low, high, color=look["color"], alpha=0.18, linewidth=0)
