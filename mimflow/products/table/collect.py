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
from mimflow.products.table import judging, wording
from mimflow.products.table.model import Block, Cell, Column, Group, Row, Table
from mimflow.products.table.picks import Picked, curve, heading_suffix, picks, sweep_lines
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.protocol import protocol_lines
from mimflow.products.table.published import compared_blocks, published_block, with_published
from mimflow.products.table.results import Result, results
from mimflow.products.table.spec import AskedMetric
from mimflow.project.deviations import deviation_lines
from mimflow.tasks import TrainTask

Asked = tuple[str, str]
"""An output, and the protocol that it is measured under."""


def collect(table: TableProduct) -> Table:
    """The table as data, with the results that are there. ArtifactError if one is corrupt."""
    root = table.root
    found = results(table, root)
    counts = heading_counts(table, found)
    asked = column_groups(table, counts)
    groups = tuple(replace(group, heading=group.heading + heading_suffix(table, group.output)) for group in asked)
    notes = Footnotes()
    picked = picks(table, found)
    columns = [column for group in groups for column in group.columns]
    rows = [
        Row(
            table.row_name(row),
            row.run,
            with_published(
                table.plan.workspace,
                row.published,
                columns,
                [_cell(column, row, found, counts, picked, root, notes) for column in columns],
            ),
        )
        for row in table.rows
    ]
    baseline = next((row.label for row in rows if row.run == table.spec.baseline), "")
    return Table(
        name=table.name,
        title=table.spec.title,
        measured=Block(groups, judging.judged(rows, columns, table.spec.baseline), table.spec.protocol),
        footnotes=tuple(notes.texts),
        published=tuple(published_block(table.plan.workspace, rows, asked) for rows in table.spec.published),
        protocol=(*protocol_lines(table, found), *sweep_lines(table, found)),
        warnings=tuple((table.row_name(row), lines) for row in table.rows if (lines := tuple(_warnings(row, root)))),
        deviations=tuple(
            (table.row_name(row), lines)
            for row in table.rows
            if row.spec is not None and (lines := deviation_lines(table.plan.workspace, row.spec))
        ),
        notes=tuple(table.spec.notes),
        rules=judging.rules(rows, columns, baseline),
        compared=tuple(compared_blocks(table, rows, groups)),
        swept=tuple(_swept_blocks(table, groups, found)),
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


def column_groups(table: TableProduct, counts: Mapping[Asked, int | None]) -> tuple[Group, ...]:
    """Facts first, then a group for each output and protocol in the order in which the spec names them."""
    facts = tuple(Column(fact, wording.fact(fact), wording.fact(fact)) for fact in table.spec.facts)
    groups: dict[Asked, list[Column]] = {}
    for asked in table.spec.metrics:
        key, content = (asked.output, asked.protocol), table.contents[asked.output]
        number = table.protocols[asked.protocol].numbers[asked.column.metric]
        groups.setdefault(key, []).append(_metric_column(table, asked, number, content, counts[key]))
    outputs = list(dict.fromkeys(output for output, _ in groups))
    named = {name: table.contents[name].heading(name, _outputs(table, name)) for name in outputs}
    headings = wording.distinct(named, table.point_labels)
    # Two protocols share no column, and the heading says whose it is.
    several = len(table.protocols) > 1
    found = [
        Group(f"{headings[output]}, {protocol}" if several else headings[output], tuple(columns), output, protocol)
        for (output, protocol), columns in groups.items()
    ]
    return (*([Group("", facts)] if facts else []), *found)


def _outputs(table: TableProduct, name: str) -> list[OutputSpec]:
    rows = (row for row in table.rows if row.spec is not None)
    return [row.outputs[output] for row in rows for output in row.outputs_of(name)]


def _metric_column(
    table: TableProduct, asked: AskedMetric, number: Number, content: Content, count: int | None
) -> Column:
    label = number.label_of(content.name) if asked.column.label is None else asked.column.label
    under = "" if asked.protocol == table.spec.protocol else f"@{asked.protocol}"
    return Column(
        name=f"{asked.output}.{number.name}{under}",
        heading=wording.heading(number, label, count),
        label=label,
        metric=number.name,
        output=asked.output,
        protocol=asked.protocol,
        digits=number.digits if asked.column.digits is None else asked.column.digits,
        direction=number.direction,
        unit=number.unit,
    )


def heading_counts(table: TableProduct, found: Mapping[str, Result]) -> dict[Asked, int | None]:
    """How many images were measured, by output and protocol, if that is the same in all rows.

    Otherwise what the content can tell of the protocol: how many samples, but not how many reconstructions.
    """
    counts: dict[Asked, int | None] = {}
    for output, protocol in dict.fromkeys((asked.output, asked.protocol) for asked in table.spec.metrics):
        measured = {
            found[measurement.evaluate.id].count
            for row in table.rows
            for measurement in row.measured
            if measurement.output in row.outputs_of(output)
            and measurement.protocol == protocol
            and measurement.evaluate.id in found
        }
        asked_for = table.contents[output].count(table.protocols[protocol].samples)
        counts[output, protocol] = measured.pop() if len(measured) == 1 else asked_for
    return counts


# -- cells ---------------------------------------------------------------------------------------------------------


def _cell(
    column: Column,
    row: PlannedRow,
    found: Mapping[str, Result],
    in_heading: Mapping[Asked, int | None],
    picked: Mapping[tuple[str, str], Picked],
    root: Path,
    notes: Footnotes,
) -> Cell:
    if column.metric is None or column.output is None:
        return _fact(column.name, row, root, notes)
    count = in_heading[column.output, column.protocol]
    if column.output not in row.sweeps:
        return _of_output(column, column.output, row, found, count, notes)
    point = picked.get((row.run, column.output))
    if point is None:
        return Cell()
    cell = _of_output(column, point.output, row, found, count, notes)
    return replace(cell, marks=(*cell.marks, notes.mark(f"{_capital(point.text)}.")), picked=point.text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_output(
    column: Column,
    output: str,
    row: PlannedRow,
    found: Mapping[str, Result],
    in_heading: int | None,
    notes: Footnotes,
) -> Cell:
    """The cell of a column's metric of one of the run's outputs."""
    key = (output, column.protocol)
    asked = [measurement for measurement in row.measured if (measurement.output, measurement.protocol) == key]
    there = {
        measurement.seed: found[measurement.evaluate.id] for measurement in asked if measurement.evaluate.id in found
    }
    cell = _metric_cell(column, len(asked), there, notes)
    counts = sorted({result.count for result in there.values()})
    if counts and counts != [in_heading]:
        text = f"Measured on {' and '.join(f'{number:,}' for number in counts)} samples."
        cell = replace(cell, marks=(*cell.marks, notes.mark(text)))
    return replace(
        cell,
        count=counts[0] if len(counts) == 1 else None,
        jobs=tuple(measurement.evaluate.id for measurement in asked if measurement.evaluate.id in found),
        output=output,
    )


def _swept_blocks(table: TableProduct, groups: tuple[Group, ...], found: Mapping[str, Result]) -> Iterator[Block]:
    """The points of each row's sweeps: what the columns ask of them, and what they are picked by."""
    for row in table.rows:
        for output, sweep in row.sweeps.items():
            asked = next(group.columns for group in groups if group.output == output)
            columns = [
                replace(column, output=point.name, point=point.label) for point in sweep.points for column in asked
            ]
            # Footnotes are of the cells that are printed.
            cells = [_of_output(column, str(column.output), row, found, None, Footnotes()) for column in columns]
            yield _row_block(table, row, sweep.names, columns, cells, table.spec.protocol)
            pick = table.spec.picks[output]
            if pick.seeds is None and pick.protocol in (None, table.spec.protocol):
                continue
            points = curve(table, row, output, found)
            columns = [
                Column(point.output, point.label, metric=pick.metric, output=point.output, point=point.label)
                for point in points
            ]
            cells = [
                Cell(
                    value=point.mean,
                    std=statistics.stdev(point.values) if len(point.values) > 1 else None,
                    n=len(point.values),
                    count=point.count,
                    jobs=point.jobs,
                )
                for point in points
            ]
            yield _row_block(table, row, sweep.names, columns, cells, pick.protocol or table.spec.protocol)


def _row_block(
    table: TableProduct,
    row: PlannedRow,
    points: tuple[str, ...],
    columns: list[Column],
    cells: list[Cell],
    protocol: str,
) -> Block:
    groups = [Group(point, tuple(column for column in columns if column.output == point), point) for point in points]
    return Block(tuple(groups), (Row(table.row_name(row), row.run, tuple(cells)),), protocol)


def _metric_cell(column: Column, asked: int, there: Mapping[int, Result], notes: Footnotes) -> Cell:
    """The mean over seeds, the spread from two seeds on, and why a seed that was measured has no value."""
    assert column.metric is not None
    measured = {seed: result.values[column.metric] for seed, result in there.items()}
    seeds = tuple((seed, value.value) for seed, value in measured.items() if value.value is not None)
    values = [value for _, value in seeds]
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
        seeds=seeds,
        own_std=measured[seeds[0][0]].std if len(seeds) == 1 else None,
        marks=marks,
    )


def _reason(seed: int, reason: str, asked: int) -> str:
    return f"No value: {reason}." if asked == 1 else f"No value for seed {seed}: {reason}."


# -- facts ---------------------------------------------------------------------------------------------------------


def _fact(name: str, row: PlannedRow, root: Path, notes: Footnotes) -> Cell:
    if not row.trained:
        return Cell()
    if name == "seeds":
        return Cell(str(len(row.trained)))
    if row.spec is not None and not row.spec.phases:
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
    return Cell() if count is None else Cell(wording.parameter_count(count), jobs=(row.trained[seed][-1].id,))


def _epochs(row: PlannedRow, seed: int, root: Path, notes: Footnotes) -> Cell:
    """Passes over the training split in all phases that lead to the row's weights."""
    tasks = ((job, job.task) for job in row.trained[seed])
    iterated = [job for job, task in tasks if isinstance(task, TrainTask) and not task.phase.objective.closed_form]
    last = row.trained[seed][-1].id
    if not iterated:
        return Cell("closed form", jobs=(last,))
    epochs = 0.0
    for job in iterated:
        artifact = job.result(root)
        if artifact is None:
            return Cell(marks=(notes.mark(f"The epochs of {job.name} are not in the store."),))
        epochs += read_facts(artifact, TrainFacts).epochs
    return Cell(f"{round(epochs, 2):g}", jobs=(last,))
