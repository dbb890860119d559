"""From one number back to its origin: evaluation, samples, checkpoint, training, data, commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import Artifact, Manifest
from mimflow.errors import PlanError
from mimflow.plan.build import Job, Measurement, Plan, PlannedRow, PlannedTable
from mimflow.plan.status import CHANGED, code_changed
from mimflow.products.table import wording
from mimflow.products.table.collect import collect
from mimflow.products.table.model import Cell, Column, Group, Table
from mimflow.products.table.protocol import extractor_line, subject_line
from mimflow.products.table.published import value_of
from mimflow.products.table.results import Result, closed_form, open_done, read_result
from mimflow.products.table.spec import PublishedRows
from mimflow.project.published import PublishedEntry
from mimflow.spec.compose import locate, nearest
from mimflow.tasks import InferTask, TrainTask

Line = tuple[int, str]
"""Depth and text."""


def why(plan: Plan, table: PlannedTable, row: str, column: str) -> str:
    """What a number was made from, as an indented text.

    `row` is a run's name or a label; `column` a heading, a metric or `output.metric`. PlanError lists the choices
    where there is no such row or column, or more than one.
    """
    collected = collect(plan, table, partial=True)
    group, found = _column(collected, column)
    measured = _measured(table, row)
    published = _published(plan, table, row)
    if len(measured) + len(published) != 1:
        raise _row_error(plan, table, row, len(measured) + len(published))
    lines: Iterator[Line]
    if published:
        lines = _of_published(plan, *published[0], group, found)
    else:
        place = measured[0]
        cell = collected.measured.rows[place].cells[collected.measured.columns.index(found)]
        lines = _of_measured(plan, table, table.rows[place], cell, group, found)
    return "\n".join("  " * depth + text for depth, text in lines)


# -- which number --------------------------------------------------------------------------------------------------


def _column(table: Table, wanted: str) -> tuple[Group, Column]:
    names = {(group, column): _names(group, column) for group in table.measured.groups for column in group.columns}
    choices = [place for place, forms in names.items() if " ".join(wanted.split()).casefold() in forms]
    listing = ", ".join(column.name for _, column in names)
    if len(choices) > 1:
        matching = ", ".join(column.name for _, column in choices)
        raise PlanError(f"'{wanted}' is the name of several columns of table '{table.name}': {matching}")
    if not choices:
        raise PlanError(f"table '{table.name}' has no column '{wanted}' (it has: {listing})")
    return choices[0]


def _names(group: Group, column: Column) -> set[str]:
    own = {column.name, column.label, column.heading, *([column.metric] if column.metric else [])}
    joined = {f"{group.output}.{name}" for name in own} | {f"{group.output} {name}" for name in own}
    joined |= {f"{name} {group.output}" for name in own} | {f"{group.heading}, {name}" for name in own}
    return {name.casefold() for name in own | joined}


def _measured(table: PlannedTable, wanted: str) -> list[int]:
    """The places of the rows of a run, or of those with a label."""
    runs = [place for place, row in enumerate(table.rows) if row.run == wanted]
    return runs or [place for place, row in enumerate(table.rows) if row.label.casefold() == wanted.casefold()]


def _published(plan: Plan, table: PlannedTable, wanted: str) -> list[tuple[PublishedRows, str, PublishedEntry]]:
    """The published entries of that name or label; none if a run has the name."""
    if any(row.run == wanted for row in table.rows):
        return []
    entries = [
        (rows, name, plan.workspace.published[rows.file].spec.entries[name])
        for rows in table.spec.published
        for name in rows.entries
    ]
    return [found for found in entries if wanted == found[1] or wanted.casefold() == found[2].label.casefold()]


def _row_error(plan: Plan, table: PlannedTable, row: str, count: int) -> PlanError:
    entries = [name for rows in table.spec.published for name in rows.entries]
    listing = ", ".join([*(planned.run for planned in table.rows), *entries])
    if count:
        return PlanError(f"'{row}' is the name of several rows of table '{table.name}': choose one of {listing}")
    hint = nearest(row, [planned.run for planned in table.rows] + entries)
    return PlanError(f"table '{table.name}' has no row '{row}' ({hint or f'it has: {listing}'})")


def _of_column(group: Group, column: Column) -> str:
    return f"{column.heading}, {group.heading[0].lower()}{group.heading[1:]}" if group.heading else column.heading


# -- published -----------------------------------------------------------------------------------------------------


def _of_published(
    plan: Plan, rows: PublishedRows, name: str, entry: PublishedEntry, group: Group, column: Column
) -> Iterator[Line]:
    loaded = plan.workspace.published[rows.file]
    value = value_of(column, entry) if column.metric is not None else getattr(entry, column.name, None)
    output = f", {group.output}" if group.output else ""
    yield 0, f"{column.label}{output}, of {entry.label}: {wording.NOTHING if value is None else value}"
    yield 1, f"published   {entry.source}"
    yield 1, f"protocol    {loaded.spec.protocol}"
    yield 1, f"papers      {loaded.spec.source}"
    node, _, _ = locate(loaded.node, ("entries", name, "values", column.output or "", column.metric or ""))
    yield 1, f"transcribed {node.mark.file}:{node.mark.line}"


# -- measured ------------------------------------------------------------------------------------------------------


def _of_measured(
    plan: Plan, table: PlannedTable, row: PlannedRow, cell: Cell, group: Group, column: Column
) -> Iterator[Line]:
    root = plan.workspace.root
    value = wording.NOTHING if cell.value is None else f"{cell.value:.6g}"
    spread = "" if cell.std is None else f" ± {cell.std:.3g}"
    yield 0, f"{_of_column(group, column)}, of {row.label}: {value if column.metric else cell.text}{spread}"
    if column.metric is None:
        for job in row.trained.values():
            yield from _training(job, root, 1)
        return
    asked = [measurement for measurement in row.measured if measurement.output == column.output]
    if not asked:
        yield 1, f"run {row.run} has no output '{column.output}'"
        return
    assert column.output is not None
    yield 1, f"mean of     {cell.n} of {len(asked)} seed{'s' * (len(asked) != 1)}"
    yield 1, f"protocol    {table.spec.protocol}: {subject_line(table.subjects[column.output], table.protocol)}"
    for measurement in asked:
        yield from _seed(measurement, column, table, root)


def _seed(measurement: Measurement, column: Column, table: PlannedTable, root: Path) -> Iterator[Line]:
    assert column.metric is not None
    result = read_result(measurement.evaluate, root)
    if result is None:
        yield 1, f"seed {measurement.seed}: not measured yet"
    else:
        value = result.values[column.metric]
        shown = f"no value: {value.reason}" if value.value is None else f"{value.value:.6g}"
        yield 1, f"seed {measurement.seed}: {shown}"
    yield from _job("evaluation", measurement.evaluate, root, 2)
    if result is not None:
        yield from ((3, text) for text in _measured_on(measurement, table, result))
    extractor = measurement.evaluate.inputs.get("extractor")
    if extractor is not None:
        yield from _job("extractor", extractor, root, 3)
    yield from _job("samples", measurement.sample, root, 2)
    task = measurement.sample.task
    assert isinstance(task, InferTask)
    yield 3, wording.sampling(task.output)
    weights = "ema.safetensors" if task.output.ema else "weights.safetensors"
    yield from _training(measurement.sample.inputs["weights"], root, 2, weights)


def _measured_on(measurement: Measurement, table: PlannedTable, result: Result) -> Iterator[str]:
    subject = table.subjects[measurement.output]
    if subject == "representation":
        yield f"trained on {result.facts['train_count']:,} images, measured on {result.count:,}"
        return
    yield f"{result.count:,} {subject} against {result.facts['reference_count']:,} images"
    yield extractor_line(table.protocol, result.facts)


def _training(job: Job, root: Path, depth: int, weights: str | None = None) -> Iterator[Line]:
    """A train job, the job that it starts from, and its data."""
    yield from _job("checkpoint", job, root, depth)
    artifact = open_done(job, root)
    for name in [weights] if weights else ["weights.safetensors", "ema.safetensors"]:
        if artifact is not None and name in artifact.manifest.files:
            yield depth + 1, f"{name}, SHA-256 {artifact.manifest.files[name].sha256}"
    task = job.task
    assert isinstance(task, TrainTask)
    yield depth + 1, f"phase {task.phase_name}, seed {task.seed}: {'; '.join(_phase(job, artifact))}"
    for module in task.system.modules:
        yield depth + 1, f"{module}: {wording.settings(getattr(task.system, module))}"
    for role, upstream in job.inputs.items():
        if role == "data":
            yield from _data(upstream, root, depth + 1)
        elif upstream.stage == "features":
            yield from _job("features", upstream, root, depth + 1)
        else:
            yield from _training(upstream, root, depth + 1)


def _data(job: Job, root: Path, depth: int) -> Iterator[Line]:
    yield from _job("data", job, root, depth)
    artifact = open_done(job, root)
    if artifact is not None and artifact.manifest.facts["skipped"]:
        yield depth + 1, f"images that could not be read: {artifact.manifest.facts['skipped']}"


def _phase(job: Job, artifact: Artifact | None) -> list[str]:
    assert isinstance(job.task, TrainTask)
    phase = job.task.phase
    parts = [wording.settings(phase.objective)]
    if closed_form(job):
        return [*parts, "in closed form"]
    facts: dict[str, Any] = {} if artifact is None else artifact.manifest.facts
    if "steps" in facts:
        parts.append(f"{facts['steps']:,} steps, {round(facts['epochs'], 2):g} epochs")
    parts.append(f"batch {phase.batch_size}")
    if phase.optimizer is not None:
        parts.append(wording.settings(phase.optimizer))
    return parts


def _job(what: str, job: Job, root: Path, depth: int) -> Iterator[Line]:
    """A job's folder, and how it was made where it is in the store."""
    artifact = open_done(job, root)
    yield depth, f"{what:<11} {job.folder}"
    if artifact is None:
        yield depth + 1, "not in the store"
        return
    yield depth + 1, _made(artifact.manifest)
    if "source" in artifact.manifest.made and code_changed(job, root):
        yield depth + 1, CHANGED


def _made(manifest: Manifest) -> str:
    git = manifest.made.get("git", {})
    commit = git.get("commit")
    clean = "clean" if git.get("clean") else "with changes"
    packages = manifest.made.get("packages", {})
    parts = [f"commit {commit[:12]} ({clean})" if commit else "no commit known"]
    parts += [f"{name} {packages[name]}" for name in ("mimflow", "torch", "torch-fidelity") if name in packages]
    if manifest.made.get("gpu"):
        parts.append(manifest.made["gpu"])
    return ", ".join(parts)
