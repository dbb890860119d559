"""A table as a product: rows of runs, measured, and everything that it is rendered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import sha256_of
from mimflow.contents.base import Content
from mimflow.contents.registry import CONTENTS
from mimflow.plan.build import Measurement
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.table.spec import TableSpec
from mimflow.project.deviations import deviation_lines
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.run import RunSpec

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class PlannedRow:
    """A run in a table: the train jobs that lead to its weights for each seed, and its measurements."""

    run: str
    label: str
    spec: RunSpec
    trained: Mapping[int, list[Job]]
    """In order, the last one has the weights; none of a run without training."""
    measured: tuple[Measurement, ...]


class TableProduct(Product):
    """A table with everything that it is rendered from."""

    spec: TableSpec

    @cached_property
    def protocol(self) -> ProtocolSpec:
        """The protocol that every measured number is measured under."""
        return self.plan.workspace.protocols[self.spec.protocol].spec

    @cached_property
    def dataset_label(self) -> str:
        """The name of the protocol's data set in tables."""
        dataset = self.plan.workspace.datasets[self.protocol.dataset]
        return dataset.spec.label or dataset.name

    @cached_property
    def extractor(self) -> Job | None:
        """The train job of the feature extractor, where a run trained it."""
        return self.plan.extractor(self.protocol)

    @cached_property
    def rows(self) -> tuple[PlannedRow, ...]:
        """The measured rows, those of ablations one for each run."""
        rows = []
        for row in self.spec.rows:
            members = [row.run] if row.run is not None else self.plan.workspace.members(row.ablation or "")
            rows += [self._row(run, row.label) for run in members]
        return tuple(rows)

    def _row(self, run: str, label: str) -> PlannedRow:
        spec = self.plan.workspace.runs[run].spec
        seeds = self.spec.seeds or spec.seeds
        measured = [
            self.plan.measure(run, output, self.spec.protocol, seed)
            for output in spec.outputs
            if output in self.spec.outputs
            for seed in seeds
        ]
        trained = {seed: self.plan.trained(run, seed) for seed in seeds}
        return PlannedRow(run, label or spec.label or run, spec, trained, tuple(measured))

    def row_name(self, row: PlannedRow) -> str:
        """What a row is called, in the table and under it: its label, and its run too where others are called so."""
        names = [name for each in self.rows for name in (each.label, f"{each.label} ({each.run})")]
        return row.label if names.count(row.label) == 1 else f"{row.label} ({row.run})"

    @property
    def contents(self) -> dict[str, Content]:
        """What the outputs of the columns hold, in the order of the columns."""
        held = {name: CONTENTS[output.content] for row in self.rows for name, output in row.spec.outputs.items()}
        return {name: held[name] for name in self.spec.outputs}

    def jobs(self) -> dict[str, Job]:
        """The extractor, and of each row the last train jobs, the outputs and their evaluations."""
        found: dict[str, Job] = {} if self.extractor is None else {"extractor": self.extractor}
        for row in self.rows:
            found |= {f"{row.run}.s{seed}": jobs[-1] for seed, jobs in row.trained.items() if jobs}
            for measured in row.measured:
                name = f"{row.run}.s{measured.seed}.{measured.output}"
                found[name] = measured.infer
                found[f"{name}.{self.spec.protocol}"] = measured.evaluate
        return found

    def identity(self) -> dict[str, Any]:
        """Labels, deviations and published numbers of other specs, and the templates."""
        workspace = self.plan.workspace
        return {
            "labels": [self.protocol.label, self.dataset_label, *(row.label for row in self.rows)],
            "deviations": [list(deviation_lines(workspace, row.spec)) for row in self.rows],
            "published": {rows.file: workspace.published[rows.file].spec.identity() for rows in self.spec.published},
            "templates": {path.name: sha256_of(path) for path in self._templates()},
        }

    def _templates(self) -> list[Path]:
        users = [] if self.spec.template is None else [self.root / self.spec.template]
        # A user's template replaces the Markdown one, and may include it.
        return [*sorted(TEMPLATES.glob("*.j2")), *users]

    def render(self, partial: bool) -> dict[str, bytes]:
        """Markdown, TeX, CSV, a picture, and the numbers of each run for `dvc metrics`."""
        from mimflow.products.table.render import render_table

        return render_table(self)

    def why(self, row: str, column: str) -> str:
        """Where a number comes from. PlanError lists the choices where there is no such row or column."""
        from mimflow.products.table.why import why

        return why(self, row, column)
