"""What a report shows of a table: the body of its page, whose numbers open where they come from, and its samples."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from mimflow.products.table.collect import collect
from mimflow.products.table.html import html_cell
from mimflow.products.table.model import Group, Row, Table
from mimflow.products.table.picture import STRIPS
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.render import pictured, sample_picture
from mimflow.products.table.results import Result, results
from mimflow.products.table.templating import render_section
from mimflow.products.table.why import origin_lines
from mimflow.products.trace import Line, given_lines, text_of, training_lines


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a row come from in columns that share a heading."""

    id: str
    """Of the element that shows it."""
    title: str
    """`Without guidance, of TARFlow`."""
    facts: tuple[tuple[str, str], ...]
    """Run, output, protocol: term and text."""
    heads: tuple[str, ...]
    """The headings of the columns, where these are measured."""
    seeds: tuple[tuple[int, tuple[str, ...]], ...]
    """By seed, what was measured in each of them, or why there is no number."""
    trace: str
    """The jobs, as `mimflow why` tells them."""


def table_section(table: TableProduct) -> str:
    """The body as HTML. ArtifactError for corrupt results."""
    collected = collect(table)
    measured, origins = collected.measured, dict(_origins(table, collected))
    shown = pictured(table, collected)
    titles = [title for _, _, title in shown[:STRIPS]]
    picture = base64.b64encode(sample_picture(table, collected)).decode() if shown else ""

    def cell(row: Row, place: int) -> str:
        origin = origins.get((measured.rows.index(row), place))
        text = html_cell(row.cells[place])
        if origin is None:
            return text
        button = '<button type="button" class="number" popovertarget="{}" title="Where it comes from">{}</button>'
        return Markup(button).format(origin.id, text)

    distinct = {origin.id: origin for origin in origins.values()}
    return render_section(collected, cell, origins=list(distinct.values()), picture=picture, titles=titles)


def _origins(table: TableProduct, collected: Table) -> Iterator[tuple[tuple[int, int], Origin]]:
    """By the places of row and column, as far as anything is there that tells them."""
    found, measured = results(table, table.root), collected.measured
    for place, (planned, row) in enumerate(zip(table.rows, measured.rows, strict=True)):
        for index, group in enumerate(measured.groups):
            origin = _origin(table, collected, planned, row, group, found, f"{table.name}.{place}.{index}")
            if origin is not None:
                yield from (((place, measured.columns.index(column)), origin) for column in group.columns)


def _origin(
    table: TableProduct,
    collected: Table,
    planned: PlannedRow,
    row: Row,
    group: Group,
    found: dict[str, Result],
    name: str,
) -> Origin | None:
    if not group.output:
        return _of_training(table, planned, row, group, name)
    output = collected.measured.output_of(row, group)
    asked = [
        each
        for each in planned.measured
        if (each.output, each.protocol) == (output, group.protocol) and each.evaluate.id in found
    ]
    if not asked:
        return None
    seeds, lines = [], list[Line]()
    for each in asked:
        result = found[each.evaluate.id]
        values = [result.values[column.metric or ""] for column in group.columns]
        texts = [f"no value: {one.reason}" if one.value is None else f"{one.value:.6g}" for one in values]
        seeds.append((each.seed, tuple(texts)))
        lines += [(0, f"seed {each.seed}"), *((depth - 1, text) for depth, text in origin_lines(each, table, result))]
    picked = next((cell.picked for cell in row.cells if cell.picked and cell.output == output), "")
    facts = [("Run", planned.run), ("Output", output), ("Protocol", group.protocol)]
    return Origin(
        name,
        f"{group.heading}, of {row.label}",
        (*facts, *([("Picked", picked)] if picked else [])),
        tuple(column.heading for column in group.columns),
        tuple(seeds),
        text_of(iter(lines)),
    )


def _of_training(table: TableProduct, planned: PlannedRow, row: Row, group: Group, name: str) -> Origin | None:
    """Of columns of facts: what trained the run."""
    lines = [
        line
        for jobs in planned.trained.values()
        if jobs and jobs[-1].done(table.root)
        for line in training_lines(jobs[-1], table.root, 0)
    ]
    if planned.spec is not None:
        lines += [(0, text) for text in given_lines(planned.spec.weights)]
    if not lines:
        return None
    heading = ", ".join(column.heading for column in group.columns)
    return Origin(name, f"{heading}, of {row.label}", (("Run", planned.run),), (), (), text_of(iter(lines)))
