"""A table as a product: rows of runs, measured, and everything that it is rendered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import sha256_of
from mimflow.compute.spec import Compute
from mimflow.contents.base import Content
from mimflow.contents.registry import CONTENTS
from mimflow.contents.spec import GivenSamples
from mimflow.outputs.spec import OutputSpec
from mimflow.plan.build import Measurement
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.table.spec import EntryName, Pick, Row, TableSpec
from mimflow.project.deviations import deviation_lines
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.run import RunSpec
from mimflow.project.sweep import Sweep
from mimflow.project.workspace import Workspace
from mimflow.tasks import EvaluateTask

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class PlannedRow:
    """A run in a table: the train jobs that lead to its weights for each seed, and its measurements. Or samples that
    were made elsewhere, which nothing is known of but their measurements.
    """

    run: str
    """A name of its own: the run's; of samples, one made of their digest."""
    label: str
    spec: RunSpec | None
    trained: Mapping[int, list[Job]]
    """In order, the last one has the weights; none of a run without training."""
    measured: tuple[Measurement, ...]
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    """The sweeps that columns show a point of, by the name that the run gives them."""
    picked_by: Mapping[str, tuple[Measurement, ...]] = field(default_factory=dict)
    """What the points of each of them are picked by."""
    published: EntryName | None = None
    """The published entry that stands beside it."""
    origin: str = ""
    """Of samples that were made elsewhere: what they are, in words."""

    @property
    def outputs(self) -> Mapping[str, OutputSpec]:
        """The run's outputs; none of samples."""
        return self.spec.outputs if self.spec is not None else {}

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The run's outputs that a column's means: the points of a sweep, or itself; none where the run has none.

        Samples that were made elsewhere stand under the one that they are measured as.
        """
        if name in self.sweeps:
            return self.sweeps[name].names
        known = self.spec.outputs if self.spec is not None else {measured.output for measured in self.measured}
        return (name,) if name in known else ()


def row_runs(row: Row, workspace: Workspace) -> list[str]:
    """The runs of a row by name, in order; none of samples that were made elsewhere."""
    if row.run is not None:
        return [row.run]
    return workspace.members(row.ablation) if row.ablation is not None else []


class TableProduct(Product):
    """A table with everything that it is rendered from."""

    spec: TableSpec

    @cached_property
    def protocols(self) -> Mapping[str, ProtocolSpec]:
        """The protocols that numbers are measured under, by name."""
        return {name: self.plan.workspace.protocols[name].spec for name in self.spec.protocols}

    def dataset_label(self, protocol: str) -> str:
        """The name of a protocol's data set in tables."""
        dataset = self.plan.workspace.datasets[self.protocols[protocol].dataset]
        return dataset.spec.label or dataset.name

    @cached_property
    def extractors(self) -> Mapping[str, Job]:
        """The train jobs of the feature extractors that runs trained, by protocol."""
        found = {name: self.plan.extractor(protocol) for name, protocol in self.protocols.items()}
        return {name: job for name, job in found.items() if job is not None}

    @cached_property
    def rows(self) -> tuple[PlannedRow, ...]:
        """The measured rows, those of ablations one for each run."""
        runs = self.plan.workspace.runs
        specs = [runs[run].spec for row in self.spec.rows for run in row_runs(row, self.plan.workspace)]
        held = {name: output.content for spec in specs for name, output in spec.outputs.items()}
        rows: list[PlannedRow] = []
        for row in self.spec.rows:
            if row.samples is not None:
                output = row.output or self.spec.samples_outputs(held)[0]
                rows.append(self._given_row(output, row, row.samples))
            rows += [self._row(run, row) for run in row_runs(row, self.plan.workspace)]
        return tuple(rows)

    def _row(self, run: str, row: Row) -> PlannedRow:
        loaded = self.plan.workspace.runs[run]
        spec = loaded.spec
        seeds = self.spec.seeds or spec.seeds
        sweeps = {name: loaded.sweeps[name] for name in self.spec.outputs if name in loaded.sweeps}
        measured = [
            self.plan.measure(run, output, name, seed)
            for name, protocol in self.protocols.items()
            if protocol.dataset == spec.dataset
            for shown in self.spec.outputs_under(name)
            for output in (sweeps[shown].names if shown in sweeps else (shown,))
            if output in spec.outputs
            for seed in seeds
        ]
        picked_by = {
            name: tuple(
                self.plan.measure(run, point, pick.protocol or self.spec.protocol, seed)
                for point in sweeps[name].names
                for seed in pick.seeds or seeds
            )
            for name, pick in self.spec.picks.items()
            if name in sweeps
        }
        trained = {seed: self.plan.trained(run, seed) for seed in seeds}
        label = row.label or spec.label or run
        return PlannedRow(run, label, spec, trained, tuple(measured), sweeps, picked_by, row.published)

    def picking_protocol(self, pick: Pick) -> ProtocolSpec:
        """The protocol that points of a sweep are compared under."""
        return self.plan.workspace.protocols[pick.protocol or self.spec.protocol].spec

    def _given_row(self, output: str, row: Row, samples: GivenSamples) -> PlannedRow:
        """Samples under every protocol of the output that they stand under."""
        name = f"given-{(samples.sha256 or 'unknown')[:16]}"
        measured = [
            Measurement(name, output, protocol, 0, None, self.plan.measure_given(samples, protocol, Compute()))
            for protocol in self.protocols
            if output in self.spec.outputs_under(protocol)
        ]
        digest = f"SHA-256 {samples.sha256}" if samples.sha256 else "digest not written down yet"
        origin = f"made elsewhere: {samples.file.rstrip('/').rpartition('/')[2]}, {digest}"
        label = row.label or samples.name
        return PlannedRow(name, label, None, {}, tuple(measured), published=row.published, origin=origin)

    def row_name(self, row: PlannedRow) -> str:
        """What a row is called, in the table and under it: its label, and its run too where others are called so."""
        names = [name for each in self.rows for name in (each.label, f"{each.label} ({each.run})")]
        return row.label if names.count(row.label) == 1 else f"{row.label} ({row.run})"

    @property
    def point_labels(self) -> dict[str, str]:
        """The values of every point of the runs' sweeps in words, by the output that it is."""
        runs = [self.plan.workspace.runs[row.run] for row in self.rows if row.spec is not None]
        points = [point for run in runs for sweep in run.sweeps.values() for point in sweep.points]
        return {point.name: point.label for point in points}

    @cached_property
    def contents(self) -> dict[str, Content]:
        """What the outputs of the columns hold, in the order of the columns."""
        held = {
            name: CONTENTS[row.outputs[output].content]
            for name in self.spec.outputs
            for row in self.rows
            if row.spec is not None
            for output in row.outputs_of(name)
        }
        return {name: held.get(name, CONTENTS["samples"]) for name in self.spec.outputs}

    def jobs(self) -> dict[str, Job]:
        """The extractors, and of each row the last train jobs, the outputs and their evaluations."""
        several = len(self.extractors) > 1
        found = {f"extractor.{name}" if several else "extractor": job for name, job in self.extractors.items()}
        for row in self.rows:
            found |= {f"{row.run}.s{seed}": jobs[-1] for seed, jobs in row.trained.items() if jobs}
            for measured in row.measured:
                name = f"{row.run}.s{measured.seed}.{measured.output}"
                if measured.infer is not None:
                    shared = found.setdefault(name, measured.infer)
                    if shared.id != measured.infer.id:  # drawn otherwise under another protocol
                        found[f"{name}.for.{measured.protocol}"] = measured.infer
                found[f"{name}.{measured.protocol}"] = measured.evaluate
            for measured in (each for measurements in row.picked_by.values() for each in measurements):
                found[f"{row.run}.s{measured.seed}.{measured.output}.{measured.protocol}"] = measured.evaluate
        return found

    def needed(self) -> dict[str, Job]:
        """The evaluations: a pull of these alone is a table, but for facts of trainings and for pictures."""
        jobs = self.jobs()
        measured = {name: job for name, job in jobs.items() if isinstance(job.task, EvaluateTask)}
        return measured or jobs

    def identity(self) -> dict[str, Any]:
        """Labels, deviations and published numbers of other specs, and the templates."""
        workspace = self.plan.workspace
        measured = [(protocol.label, self.dataset_label(name)) for name, protocol in self.protocols.items()]
        return {
            "labels": [*(text for texts in measured for text in texts), *(row.label for row in self.rows)],
            "deviations": [list(deviation_lines(workspace, row.spec)) for row in self.rows if row.spec is not None],
            "published": {file: workspace.published[file].spec.identity() for file in self._published_files()},
            "templates": {path.name: sha256_of(path) for path in self._templates()},
        }

    def _published_files(self) -> list[str]:
        beside = [row.published.file for row in self.spec.rows if row.published is not None]
        return list(dict.fromkeys([*(rows.file for rows in self.spec.published), *beside]))

    def _templates(self) -> list[Path]:
        users = [] if self.spec.template is None else [self.root / self.spec.template]
        # A user's template replaces one of them, and may include it.
        return [*sorted(TEMPLATES.glob("*.j2")), *users]

    def render(self, partial: bool) -> dict[str, bytes]:
        """Markdown, TeX, CSV, HTML, JSON, a picture, and the numbers of each run for `dvc metrics`."""
        from mimflow.products.table.render import render_table

        return render_table(self)

    def section(self) -> str:
        """The body of its HTML page, whose numbers open where they come from, and its samples."""
        from mimflow.products.table.section import table_section

        return table_section(self)

    def why(self, row: str, column: str) -> str:
        """Where a number comes from. PlanError lists the choices where there is no such row or column."""
        from mimflow.products.table.why import why

        return why(self, row, column)
