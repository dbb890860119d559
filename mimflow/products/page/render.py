"""The files of a run's page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.log import LOG, read_log
from mimflow.plan import paths
from mimflow.plan.jobs import Job
from mimflow.products.curves import Curve, draw_curves
from mimflow.products.page.product import TEMPLATE, PageProduct
from mimflow.products.table.collect import collect
from mimflow.products.table.layout import heading, markdown, markdown_cell, raised
from mimflow.products.table.model import Cell, Table
from mimflow.products.table.picture import picture
from mimflow.products.table.render import sample_picture
from mimflow.products.templates import own_template
from mimflow.products.trace import product_lines, text_of
from mimflow.project.inspection import explain


@dataclass(frozen=True)
class Number:
    """A line of the page's numbers."""

    output: str
    metric: str
    cell: Cell


@dataclass(frozen=True)
class Training:
    """A finished train job, in words."""

    name: str
    done: str
    """Steps, epochs, time, device."""
    validation: str
    """Figures on the validation split."""
    health: str
    """Figures of the latent space's health, and whether anything is amiss."""
    warnings: tuple[str, ...]


def render_page(page: PageProduct) -> dict[str, bytes]:
    """The contents of a page's files by path, with the results that are there. ArtifactError for corrupt ones."""
    table = collect(page.table) if page.table is not None else None
    filters: dict[str, Callable[..., str]] = {"md": markdown, "cell": markdown_cell, "raised": raised}
    text = own_template(TEMPLATE, filters).render(
        page=page.spec,
        run=page.run,
        table=table,
        facts=_facts(table) if table is not None else [],
        numbers=list(_numbers(table)) if table is not None else [],
        trainings=list(_trainings(page)),
        curves=paths.product_file(page.spec.run, "curves.png").rpartition("/")[2],
        samples=paths.product_file(page.spec.run, "png").rpartition("/")[2] if page.table is not None else None,
        spec=explain(page.plan.workspace, page.spec.run),
        provenance=text_of(product_lines(page)),
    )
    seen = sample_picture(page.table, table) if page.table is not None and table is not None else picture([])
    return {
        paths.product_file(page.name, "md"): text.encode(),
        paths.product_file(page.name, "png"): seen,
        paths.product_file(page.name, "curves.png"): draw_curves(list(_curves(page))),
    }


def _facts(table: Table) -> list[tuple[str, Cell]]:
    pairs = zip(table.measured.columns, table.measured.rows[0].cells, strict=True)
    return [(column.heading, cell) for column, cell in pairs if column.metric is None]


def _numbers(table: Table) -> Iterator[Number]:
    cells = iter(table.measured.rows[0].cells)
    for group in table.measured.groups:
        for column in group.columns:
            cell = next(cells)
            if column.metric is not None:
                yield Number(group.heading or (column.output or ""), heading(column), cell)


def _finished(page: PageProduct) -> Iterator[tuple[Job, TrainFacts]]:
    for jobs in page.trained.values():
        for job in jobs:
            artifact = job.result(page.root)
            if artifact is not None:
                yield job, read_facts(artifact, TrainFacts)


def _trainings(page: PageProduct) -> Iterator[Training]:
    for job, facts in _finished(page):
        peak = f"{facts.peak_memory_mb:,.0f} MB"
        done = f"{facts.steps:,} steps, {facts.epochs:.3g} epochs" if facts.steps else "in closed form"
        amiss = f"{len(facts.warnings)} warning{'s' * (len(facts.warnings) > 1)}" if facts.warnings else "sound"
        yield Training(
            job.name,
            f"{done}, {_duration(facts.seconds)} on {facts.device}, {peak} at most",
            _figures(facts.val),
            "; ".join(filter(None, [amiss, _figures(facts.health)])),
            tuple(facts.warnings),
        )


def _figures(figures: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in figures.items())


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "—" if value is None else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _curves(page: PageProduct) -> Iterator[Curve]:
    for job, facts in _finished(page):
        artifact = job.result(page.root)
        if facts.steps and artifact is not None and LOG in artifact.manifest.files:
            yield Curve(job.name.removeprefix(f"{page.spec.run}."), read_log(artifact))
