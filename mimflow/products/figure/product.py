"""A figure as a product: the runs of its rows, and what draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.facts import read_facts
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.figure.as_table import as_table, outputs_named
from mimflow.products.figure.registry import DRAWINGS
from mimflow.products.figure.spec import FigureSpec
from mimflow.products.table.product import TableProduct, row_runs
from mimflow.products.table.spec import Row
from mimflow.project.kinds import ProductKind
from mimflow.project.run import RunSpec
from mimflow.project.sweep import Sweep
from mimflow.project.workspace import Loaded, run_name
from mimflow.spec.ties import is_tie

if TYPE_CHECKING:
    from mimflow.products.figure.base import Drawing


@dataclass(frozen=True)
class FigureRow:
    """A run in a figure, or samples that were made elsewhere."""

    name: str
    """The run's; of samples one made of their digest, as tables have it."""
    label: str
    series: str
    """What joins it with others: the label of an ablation, or its own."""
    named: bool
    """Whether the spec gives the label, so that all rows which have it are one."""
    spec: RunSpec | None
    seeds: tuple[int, ...]
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    varied: dict[str, Any] = field(default_factory=dict)
    """What the row's ablation sets in this run, by dotted path."""

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The run's outputs that a name means: the points of a sweep, or itself; of samples that name alone."""
        if name in self.sweeps:
            return self.sweeps[name].names
        return (name,) if self.spec is None or name in self.spec.outputs else ()

    def point_values(self, name: str, output: str) -> dict[str, Any]:
        """The values of a point of a sweep by the output's fields; none of an output that is none."""
        points = self.sweeps[name].points if name in self.sweeps else ()
        return {path: value for point in points if point.name == output for path, value in point.values.items()}

    def point_label(self, name: str, output: str) -> str:
        """The values of a point of a sweep in words; empty for an output that is none."""
        return self.sweeps[name].label(output) if name in self.sweeps else ""


class FigureProduct(Product):
    """A figure with everything that it is rendered from."""

    spec: FigureSpec

    def __init__(self, plan: Plan, kind: ProductKind, loaded: Loaded[Any]):
        super().__init__(plan, kind, loaded)
        self.loaded: Loaded[FigureSpec] = loaded

    @cached_property
    def table(self) -> TableProduct:
        """Its numbers as a table: of kinds that draw numbers."""
        return TableProduct(self.plan, self.kind, as_table(self.loaded, self.plan.workspace))

    @cached_property
    def drawing(self) -> Drawing:
        """What draws it."""
        drawing: Drawing = DRAWINGS.build(self.spec.draw, self)
        return drawing

    @cached_property
    def rows(self) -> tuple[FigureRow, ...]:
        """The rows in order, those of ablations one for each run."""
        given = iter(row.run for row in self.table.rows if row.spec is None) if self._gives_samples else iter(())
        rows: list[FigureRow] = []
        for row in self.spec.rows:
            if row.samples is not None:
                label = row.label or row.samples.name
                rows.append(FigureRow(next(given), label, label, bool(row.label), None, (0,)))
            rows += [self._row(run, row) for run in row_runs(row, self.plan.workspace)]
        return tuple(rows)

    @property
    def _gives_samples(self) -> bool:
        return any(row.samples is not None for row in self.spec.rows)

    def _row(self, run: str, row: Row) -> FigureRow:
        loaded = self.plan.workspace.runs[run]
        own = loaded.spec.label or run
        series, varied = row.label or own, {}
        if row.ablation is not None:
            ablation = self.plan.workspace.ablations[row.ablation].spec
            series = row.label or ablation.label or row.ablation
            variants = {run_name(row.ablation, variant.name): variant for variant in ablation.expand()}
            varied = {path: value for path, value in variants[run].overrides.items() if not is_tie(value)}
        seeds = tuple(self.spec.seeds or loaded.spec.seeds)
        label = own if row.ablation is not None else series
        return FigureRow(run, label, series, bool(row.label), loaded.spec, seeds, loaded.sweeps, varied)

    def table_name(self, row: FigureRow) -> str:
        """What a row is called where it stands alone: its label, and its run too where others are called so."""
        alike = sum(each.label == row.label for each in self.rows)
        return row.label if alike == 1 else f"{row.label} ({row.name})"

    def fact(self, row: FigureRow, name: str) -> float | None:
        """What a run's first training that is in the store knows of itself: `parameters`, `epochs`; None if none is."""
        for seed in row.seeds if row.spec is not None else ():
            found = [job.result(self.root) for job in self.plan.trained(row.name, seed)]
            facts = [read_facts(artifact, TrainFacts) for artifact in found if artifact is not None]
            if facts and len(facts) == len(found):
                if name == "epochs":
                    return sum(each.epochs for each in facts)
                return facts[-1].system_parameters if name == "parameters" else facts[-1].prior_parameters
        return None

    def outputs_named(self, name: str) -> list[str]:
        """The outputs of any row that a name means, in order."""
        runs = {row.name: self.plan.workspace.runs[row.name] for row in self.rows if row.spec is not None}
        return outputs_named(name, runs)

    def jobs(self) -> Mapping[str, Job]:
        """Those that its drawing reads."""
        return self.drawing.jobs()

    def shown(self) -> Mapping[str, tuple[Job, str]]:
        """The results whose content its drawing shows."""
        return self.drawing.shown()

    def identity(self) -> dict[str, Any]:
        """The labels of other specs, and what its drawing adds."""
        return {"labels": [[row.label, row.series] for row in self.rows], **self.drawing.identity()}

    def render(self, partial: bool) -> dict[str, bytes]:
        """SVG, PDF and PNG, and the drawn values as CSV."""
        from mimflow.products.figure.render import render_figure

        return render_figure(self)

    def why(self, row: str, column: str) -> str | None:
        """Where one of its numbers comes from, by run and number; None for a figure that draws no numbers."""
        return self.drawing.why(row, column)
