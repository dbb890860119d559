"""A run's page as a product: `snakemake --cores all results/runs/RUN.md` trains, samples and measures the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimflow.artifacts.manifest import sha256_of
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.products.page.spec import PageSpec
from mimflow.products.table.product import TableProduct
from mimflow.products.table.spec import OutputColumns, Row, TableSpec
from mimflow.project.kinds import ProductKind
from mimflow.project.protocol import ProtocolSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Loaded, Workspace

if TYPE_CHECKING:
    from mimflow.plan.build import Plan

TEMPLATE = Path(__file__).resolve().parent / "page.md.j2"
FOLDER = "runs"
"""The folder of `results` that pages lie in."""
FACTS = ("parameters", "prior_parameters", "epochs", "seeds")


def describe(workspace: Workspace, run: str) -> PageSpec:
    """The page of a run, measured under the protocol of its data set."""
    spec = workspace.runs[run].spec
    return PageSpec(title=spec.label or run, run=run, protocol=default_protocol(workspace, spec.dataset))


def default_protocol(workspace: Workspace, dataset: str) -> str | None:
    """The protocol of a data set that runs are measured under when nobody asks for another; None where it has none.

    It is the one that says `by_default: true`, or else the only one.
    """
    theirs = [loaded for loaded in workspace.sound("protocol") if loaded.spec.dataset == dataset]
    chosen = [loaded.name for loaded in theirs if loaded.spec.by_default or len(theirs) == 1]
    return chosen[0] if chosen else None


class PageProduct(Product):
    """The page of a run with everything that it is rendered from."""

    spec: PageSpec

    def __init__(self, plan: Plan, kind: ProductKind, loaded: Loaded[Any]):
        super().__init__(plan, kind, loaded)
        self.run: RunSpec = plan.workspace.runs[self.spec.run].spec

    @cached_property
    def table(self) -> TableProduct | None:
        """All that the protocol measures of the run's outputs, as a table of one row; None where it measures none."""
        if self.spec.protocol is None:
            return None
        columns = list(_columns(self.run, self.plan.workspace.protocols[self.spec.protocol].spec))
        if not columns:
            return None
        spec = TableSpec(
            title=self.spec.title,
            protocol=self.spec.protocol,
            rows=[Row(run=self.spec.run)],
            columns=[*FACTS, *columns],
        )
        return TableProduct(self.plan, self.kind, Loaded("table", self.name, spec, *self._origin))

    @property
    def _origin(self) -> tuple[Any, Path]:
        loaded = self.plan.workspace.runs[self.spec.run]
        return loaded.node, loaded.file

    @cached_property
    def trained(self) -> dict[int, list[Job]]:
        """The train jobs of its own phases that lead to its weights, by seed and in order."""
        return {seed: self.plan.trained(self.spec.run, seed) for seed in self.run.seeds}

    def jobs(self) -> Mapping[str, Job]:
        """The train jobs of all phases, and what the protocol measures."""
        own = {job.name.removeprefix(f"{self.spec.run}."): job for jobs in self.trained.values() for job in jobs}
        measured = self.table.jobs() if self.table is not None else {}
        return own | {name: job for name, job in measured.items() if job not in own.values()}

    def identity(self) -> dict[str, Any]:
        """The spec with the places that its values come from, as the page shows it, and the template."""
        from mimflow.project.inspection import explain

        of_table = self.table.identity() if self.table is not None else {}
        shown = explain(self.plan.workspace, self.spec.run)
        return {**of_table, "shown": shown, "page": sha256_of(TEMPLATE)}

    def render(self, partial: bool) -> dict[str, bytes]:
        """Markdown, a picture of samples, the curves of its training."""
        from mimflow.products.page.render import render_page

        return render_page(self)


def _columns(run: RunSpec, protocol: ProtocolSpec) -> Iterator[OutputColumns]:
    for name, output in run.outputs.items():
        reported = [metric.reports for metric in protocol.metrics if output.content in metric.measures]
        if reported:
            yield OutputColumns(output=name, metrics=[number for numbers in reported for number in numbers])
