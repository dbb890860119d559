"""From a planned table and the store to a table as data."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.facts import read_facts
from mimflow.contents.base import Content
from mimflow.metrics.number import Number
from mimflow.outputs.spec import OutputSpec
from mimflow.products.table import wording
from mimflow.products.table.model import Block, Cell, Column, Group, Row, Table
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.protocol import protocol_lines
from mimflow.products.table.published import published_block
from mimflow.products.table.results import Result, results
from mimflow.products.table.spec import AskedMetric
from mimflow.project.deviations import deviation_lines
from mimflow.tasks import TrainTask


def collect(table: TableProduct) -> Table:
    """The table as data, with the results that are there. ArtifactError if one is corrupt."""
    root = table.root
    found = results(table, root)
    counts = heading_counts(table, found)
    groups = column_groups(table, counts)
    notes = Footnotes()
    columns = [column for group in groups for column in group.columns]
    rows = [
        Row(table.row_name(row), row.run, tuple(_cell(column, row, found, counts, root, notes) for column in columns))
        for row in table.rows
    ]
    return Table(
        name=table.name,
        title=table.spec.title,
        measured=Block(groups, _with_best(rows, columns), table.spec.protocol),
        footnotes=tuple(notes.texts),
        published=tuple(published_block(table.plan.workspace, rows, groups) for rows in table.spec.published),
        protocol=protocol_lines(table, found),
        warnings=tuple((table.row_name(row), lines) for row in table.rows if (lines := tuple(_warnings(row, root)))),
        deviations=tuple(
            (table.row_name(row), lines)
            for row in table.rows
            if (lines := deviation_lines(table.plan.workspace, row.spec))
        ),
        notes=tuple(table.spec.notes),
    )


def _warnings(row: PlannedRow, root: Path) -> Iterator[str]:
    """What is not sound in the trainings that lead to a row's weights, as far as they are in the store."""
    for jobs in row.trained.values():
        for job in jobs:
            artifact = job.result(root) if isinstance(job.task, TrainTask) else None
            if artifact is not None:
                yield from (f"{job.name}: {line}" for line in read_facts(artifact, TrainFacts).warnings)


class Footnotes:
    """Sentences under a table, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> int:
        """The number of a footnote, from 1."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


# -- columns -------------------------------------------------------------------------------------------------------


def column_groups(table: TableProduct, counts: Mapping[str, int | None]) -> tuple[Group, ...]:
    """Facts first, then a group for each output in the order in which the spec names them."""
    facts = tuple(Column(fact, wording.fact(fact), wording.fact(fact)) for fact in table.spec.facts)
    numbers = table.protocol.numbers
    outputs: dict[str, list[Column]] = {}
    for asked in table.spec.metrics:
        number, content = numbers[asked.column.metric], table.contents[asked.output]
        outputs.setdefault(asked.output, []).append(_metric_column(asked, number, content, counts[asked.output]))
    headings = {name: table.contents[name].heading(name, _outputs(table, name)) for name in outputs}
    found = [Group(heading, tuple(outputs[name]), name) for name, heading in wording.distinct(headings).items()]
    return (*([Group("", facts)] if facts else []), *found)


def _outputs(table: TableProduct, name: str) -> list[OutputSpec]:
    return [row.spec.outputs[name] for row in table.rows if name in row.spec.outputs]


def _metric_column(asked: AskedMetric, number: Number, content: Content, count: int | None) -> Column:
    label = number.label_of(content.name) if asked.column.label is None else asked.column.label
    return Column(
        name=f"{asked.output}.{number.name}",
        heading=wording.heading(number, label, count),
        label=label,
        metric=number.name,
        output=asked.output,
        digits=number.digits if asked.column.digits is None else asked.column.digits,
        direction=number.direction,
        unit=number.unit,
    )


def heading_counts(table: TableProduct, found: Mapping[str, Result]) -> dict[str, int | None]:
    """How many images were measured, by output, if that is the same in all rows.

    Otherwise what the content can tell of the protocol: how many samples, but not how many reconstructions.
    """
    counts: dict[str, int | None] = {}
    for output, content in table.contents.items():
        measured = {
            found[measurement.evaluate.id].count
            for row in table.rows
            for measurement in row.measured
            if measurement.output == output and measurement.evaluate.id in found
        }
        counts[output] = measured.pop() if len(measured) == 1 else content.count(table.protocol.samples)
    return counts


# -- cells ---------------------------------------------------------------------------------------------------------


def _cell(
    column: Column,
    row: PlannedRow,
    found: Mapping[str, Result],
    in_heading: Mapping[str, int | None],
    root: Path,
    notes: Footnotes,
) -> Cell:
    if column.metric is None or column.output is None:
        return _fact(column.name, row, root, notes)
    asked = [measurement for measurement in row.measured if measurement.output == column.output]
    there = {
        measurement.seed: found[measurement.evaluate.id] for measurement in asked if measurement.evaluate.id in found
    }
    cell = _metric_cell(column, len(asked), there, notes)
    counts = sorted({result.count for result in there.values()})
    if counts and counts != [in_heading[column.output]]:
        text = f"Measured on {' and '.join(f'{number:,}' for number in counts)} samples."
        cell = replace(cell, marks=(*cell.marks, notes.mark(text)))
    return replace(
        cell,
        count=counts[0] if len(counts) == 1 else None,
        jobs=tuple(measurement.evaluate.id for measurement in asked if measurement.evaluate.id in found),
    )


def _metric_cell(column: Column, asked: int, there: Mapping[int, Result], notes: Footnotes) -> Cell:
    """The mean over seeds, the spread from two seeds on, and why a seed that was measured has no value."""
    assert column.metric is not None
    measured = {seed: result.values[column.metric] for seed, result in there.items()}
    values = [value.value for value in measured.values() if value.value is not None]
    reasons = {seed: value.reason or "not said" for seed, value in measured.items() if value.value is None}
    marks = tuple(dict.fromkeys(notes.mark(_reason(seed, text, asked)) for seed, text in reasons.items()))
    short = f"{len(values)}/{asked}" if len(values) < asked and (values or len(reasons) < asked) else ""
    if not values:
        return Cell(short=short, marks=marks)
    mean = statistics.fmean(values)
    std = statistics.stdev(values) if len(values) > 1 else None
    return Cell(
        text=wording.decimals(mean, column.digits),
        value=mean,
        std=std,
        spread="" if std is None else wording.decimals(std, column.digits),
        n=len(values),
        short=short,
        marks=marks,
    )


def _reason(seed: int, reason: str, asked: int) -> str:
    return f"No value: {reason}." if asked == 1 else f"No value for seed {seed}: {reason}."


def _with_best(rows: list[Row], columns: list[Column]) -> tuple[Row, ...]:
    """The same rows, the best of each column marked; equal as printed is equal. One value alone is no best."""
    marked = [list(row.cells) for row in rows]
    for index, column in enumerate(columns):
        printed = {
            place: round(row.cells[index].value or 0.0, column.digits)
            for place, row in enumerate(rows)
            if row.cells[index].value is not None
        }
        if column.direction is None or len(printed) < 2:
            continue
        best = min(printed.values()) if column.direction == "lower" else max(printed.values())
        for place, value in printed.items():
            if value == best:
                marked[place][index] = replace(marked[place][index], best=True)
    return tuple(replace(row, cells=tuple(cells)) for row, cells in zip(rows, marked, strict=True))


# -- facts ---------------------------------------------------------------------------------------------------------


def _fact(name: str, row: PlannedRow, root: Path, notes: Footnotes) -> Cell:
    if name == "seeds":
        return Cell(str(len(row.trained)))
    if not row.spec.phases:
        return Cell(marks=(notes.mark(f"{row.label} is given its weights: nothing of it was trained here."),))
    seed = next((seed for seed, jobs in row.trained.items() if jobs[-1].done(root)), None)
    if seed is None:
        return Cell()
    if name == "epochs":
        return _epochs(row, seed, root, notes)
    artifact = row.trained[seed][-1].result(root)
    assert artifact is not None
    facts = read_facts(artifact, TrainFacts)
    count = facts.system_parameters if name == "parameters" else facts.prior_parameters
    return Cell() if count is None else Cell(wording.parameter_count(count))


def _epochs(row: PlannedRow, seed: int, root: Path, notes: Footnotes) -> Cell:
    """Passes over the training split in all phases that lead to the row's weights."""
    tasks = ((job, job.task) for job in row.trained[seed])
    iterated = [job for job, task in tasks if isinstance(task, TrainTask) and not task.phase.objective.closed_form]
    if not iterated:
        return Cell("closed form")
    epochs = 0.0
    for job in iterated:
        artifact = job.result(root)
        if artifact is None:
            return Cell(marks=(notes.mark(f"The epochs of {job.name} are not in the store."),))
        epochs += read_facts(artifact, TrainFacts).epochs
    return Cell(f"{round(epochs, 2):g}")
