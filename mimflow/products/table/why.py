"""From one number back to its origin: evaluation, samples, checkpoint, training, data, commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mimflow.artifacts.checkpoint import weights_file
from mimflow.contents.registry import CONTENTS
from mimflow.errors import PlanError
from mimflow.plan.build import Measurement, Plan
from mimflow.products.table import wording
from mimflow.products.table.collect import collect
from mimflow.products.table.model import Cell, Column, Group, Table
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.protocol import extractor_line
from mimflow.products.table.published import value_of
from mimflow.products.table.results import Result, read_result
from mimflow.products.table.spec import PublishedRows
from mimflow.products.trace import Line, given_lines, job_lines, text_of, training_lines
from mimflow.project.published import PublishedEntry
from mimflow.spec.compose import locate, nearest
from mimflow.tasks import EvaluateTask, InferTask


def why(table: TableProduct, row: str, column: str) -> str:
    """What a number was made from, as an indented text.

    `row` is a run's name or a label; `column` a heading, a metric or `output.metric`. PlanError lists the choices
    where there is no such row or column, or more than one.
    """
    plan, collected = table.plan, collect(table)
    group, found = _column(table, collected, column)
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
    return text_of(lines)


# -- which number --------------------------------------------------------------------------------------------------


def _column(table: TableProduct, collected: Table, wanted: str) -> tuple[Group, Column]:
    names = {(group, column): _names(group, column) for group in collected.measured.groups for column in group.columns}
    choices = [place for place, forms in names.items() if " ".join(wanted.split()).casefold() in forms]
    listing = ", ".join(column.name for _, column in names)
    if len(choices) > 1:
        matching = ", ".join(column.name for _, column in choices)
        raise PlanError(f"'{wanted}' is the name of several columns of {_called(table)}: {matching}")
    if not choices:
        raise PlanError(f"{_called(table)} has no column '{wanted}' (it has: {listing})")
    return choices[0]


def _names(group: Group, column: Column) -> set[str]:
    own = {column.name, column.label, column.heading, *([column.metric] if column.metric else [])}
    joined = {f"{group.output}.{name}" for name in own} | {f"{group.output} {name}" for name in own}
    joined |= {f"{name} {group.output}" for name in own} | {f"{group.heading}, {name}" for name in own}
    return {name.casefold() for name in own | joined}


def _measured(table: TableProduct, wanted: str) -> list[int]:
    """The places of the rows of a run, or of those with a label."""
    runs = [place for place, row in enumerate(table.rows) if row.run == wanted]
    names = [{row.label.casefold(), table.row_name(row).casefold()} for row in table.rows]
    return runs or [place for place, forms in enumerate(names) if wanted.casefold() in forms]


def _published(plan: Plan, table: TableProduct, wanted: str) -> list[tuple[PublishedRows, str, PublishedEntry]]:
    """The published entries of that name or label; none if a run has the name."""
    if any(row.run == wanted for row in table.rows):
        return []
    entries = [
        (rows, name, plan.workspace.published[rows.file].spec.entries[name])
        for rows in table.spec.published
        for name in rows.entries
    ]
    return [found for found in entries if wanted == found[1] or wanted.casefold() == found[2].label.casefold()]


def _row_error(plan: Plan, table: TableProduct, row: str, count: int) -> PlanError:
    entries = [name for rows in table.spec.published for name in rows.entries]
    listing = ", ".join([*(planned.run for planned in table.rows), *entries])
    if count:
        return PlanError(f"'{row}' is the name of several rows of {_called(table)}: choose one of {listing}")
    hint = nearest(row, [planned.run for planned in table.rows] + entries)
    return PlanError(f"{_called(table)} has no row '{row}' ({hint or f'it has: {listing}'})")


def _called(table: TableProduct) -> str:
    """`table 'table1'`; or the figure whose numbers it has."""
    return f"{table.kind.name} '{table.name}'"


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
    plan: Plan, table: TableProduct, row: PlannedRow, cell: Cell, group: Group, column: Column
) -> Iterator[Line]:
    root = plan.workspace.root
    value = wording.NOTHING if cell.value is None else f"{cell.value:.6g}"
    spread = "" if cell.std is None else f" ± {cell.std:.3g}"
    unit = f" {column.unit}" if column.unit and cell.value is not None else ""
    yield (
        0,
        f"{_of_column(group, column)}, of {table.row_name(row)}: {value if column.metric else cell.text}{spread}{unit}",
    )
    if column.metric is None:
        for jobs in row.trained.values():
            if jobs:
                yield from training_lines(jobs[-1], root, 1)
        if row.spec is not None:
            yield from ((1, text) for text in given_lines(row.spec.weights))
        return
    key = (cell.output, column.protocol)
    asked = [measurement for measurement in row.measured if (measurement.output, measurement.protocol) == key]
    if cell.picked:
        yield 1, f"picked      {cell.picked}"
    if column.output in row.sweeps and not asked:
        yield 1, f"no point of the sweep '{column.output}' is measured yet"
        return
    if not asked:
        measured = " measured so" if column.output in row.outputs else ""
        yield 1, f"run {row.run} has no output '{column.output}'{measured}"
        return
    assert column.output is not None
    protocol = table.protocols[column.protocol]
    yield 1, f"metric      {protocol.numbers[column.metric].sentence}"
    yield 1, f"mean of     {cell.n} of {len(asked)} seed{'s' * (len(asked) != 1)}"
    line = table.contents[column.output].line(protocol.samples, protocol.reference)
    yield 1, f"protocol    {column.protocol}: {line}"
    for measurement in asked:
        yield from _seed(measurement, column, table, root)


def _seed(measurement: Measurement, column: Column, table: TableProduct, root: Path) -> Iterator[Line]:
    assert column.metric is not None
    result = read_result(measurement.evaluate, root)
    if result is None:
        yield 1, f"seed {measurement.seed}: not measured yet"
    else:
        value = result.values[column.metric]
        shown = f"no value: {value.reason}" if value.value is None else f"{value.value:.6g}"
        yield 1, f"seed {measurement.seed}: {shown}"
    yield from job_lines("evaluation", measurement.evaluate, root, 2)
    if result is not None:
        yield from ((3, text) for text in _measured_on(measurement, table, result))
    extractor = measurement.evaluate.inputs.get("extractor")
    if extractor is not None:
        yield from job_lines("extractor", extractor, root, 3)
    for role, reference in measurement.evaluate.inputs.items():
        if reference.stage == "reference":
            yield from job_lines(role, reference, root, 3)
    if measurement.infer is None:
        return
    yield from job_lines("output", measurement.infer, root, 2)
    task = measurement.infer.task
    assert isinstance(task, InferTask)
    yield 3, wording.sampling(task.output, given=task.weights is not None)
    weights = weights_file(task.output.ema, task.output.snapshot)
    yield from ((2, text) for text in given_lines(task.weights))
    for role, job in measurement.infer.inputs.items():
        if role.startswith("weights"):
            yield from training_lines(job, root, 2, weights if role == "weights" else None)


def _measured_on(measurement: Measurement, table: TableProduct, result: Result) -> Iterator[str]:
    task = measurement.evaluate.task
    assert isinstance(task, EvaluateTask)
    content = CONTENTS[task.content]
    yield content.measured(result.facts)
    if content.extracts:
        yield extractor_line(table.protocols[measurement.protocol], result.facts)
