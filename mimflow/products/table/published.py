"""Published numbers: in blocks of their own, and line by line below what was measured, always with their source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from mimflow.products.table import wording
from mimflow.products.table.model import Block, Cell, Column, Counterpart, Group, Row
from mimflow.products.table.product import TableProduct
from mimflow.products.table.spec import EntryName, PublishedRows
from mimflow.project.published import PublishedEntry
from mimflow.project.workspace import Workspace


def published_block(workspace: Workspace, rows: PublishedRows, groups: Sequence[Group]) -> Block:
    """The entries of one file, in those of the table's columns for which they have values."""
    spec = workspace.published[rows.file].spec
    entries = [spec.entries[name] for name in rows.entries]
    # How the paper's samples were guided is the paper's to say, and so is its protocol.
    plain = {group.output: group.heading.removesuffix(f", {group.protocol}") for group in groups}
    headings = wording.distinct({output: heading.partition(" (")[0] for output, heading in plain.items()}, {})
    used: dict[str, dict[str, Column]] = {}
    for group in groups:
        for column in group.columns:
            if _used(column, entries):
                used.setdefault(group.output, {}).setdefault(column.metric or column.name, column)
    kept = [
        Group(headings[output], tuple(_as_printed(column, entries) for column in columns.values()), output)
        for output, columns in used.items()
    ]
    columns = [column for group in kept for column in group.columns]
    return Block(
        groups=tuple(kept),
        rows=tuple(
            Row(entry.label, "", tuple(_cell(column, entry) for column in columns), entry.source) for entry in entries
        ),
        protocol=spec.protocol,
        source=spec.source,
    )


def value_of(column: Column, entry: PublishedEntry) -> float | None:
    """What an entry gives for a metric column."""
    if column.metric is None or column.output is None:
        return None
    return entry.values.get(column.output, {}).get(column.metric)


def _used(column: Column, entries: list[PublishedEntry]) -> bool:
    if column.metric is None:
        return column.name != "seeds" and any(getattr(entry, column.name) is not None for entry in entries)
    return any(value_of(column, entry) is not None for entry in entries)


def _as_printed(column: Column, entries: list[PublishedEntry]) -> Column:
    """Without our count, with the digits that the column has in print: 2.50 was read as 2.5, its neighbours tell."""
    exponents = [
        int(Decimal(repr(value)).as_tuple().exponent)
        for entry in entries
        if (value := value_of(column, entry)) is not None
    ]
    return replace(column, heading=column.label, digits=max(0, -min(exponents, default=0)))


def _cell(column: Column, entry: PublishedEntry) -> Cell:
    if column.metric is None:
        fact = getattr(entry, column.name)
        return Cell() if fact is None else Cell(str(fact))
    value = value_of(column, entry)
    return Cell() if value is None else Cell(wording.decimals(value, column.digits), value)


# -- beside what was measured --------------------------------------------------------------------------------------


def with_published(
    workspace: Workspace, name: EntryName | None, columns: Sequence[Column], cells: Sequence[Cell]
) -> tuple[Cell, ...]:
    """The cells of a row, those that the row's published entry has a number for with that number."""
    if name is None:
        return tuple(cells)
    entry = workspace.published[name.file].spec.entries[name.entry]
    return tuple(_beside(column, cell, entry) for column, cell in zip(columns, cells, strict=True))


def _beside(column: Column, cell: Cell, entry: PublishedEntry) -> Cell:
    value = value_of(column, entry)
    if value is None or cell.value is None:
        return cell
    difference = cell.value - value
    text = wording.decimals(value, _as_printed(column, [entry]).digits)
    return replace(cell, published=Counterpart(value, text, difference, wording.signed(difference, column.digits)))


def compared_blocks(table: TableProduct, rows: Sequence[Row], groups: Sequence[Group]) -> Iterator[Block]:
    """Three lines for each row that names a published entry: measured, published, the difference; a block a file."""
    named = [(row, planned.published) for row, planned in zip(rows, table.rows, strict=True) if planned.published]
    for file in dict.fromkeys(name.file for _, name in named):
        spec = table.plan.workspace.published[file].spec
        pairs = [(row, spec.entries[name.entry]) for row, name in named if name.file == file]
        entries = [entry for _, entry in pairs]
        used = {column.name for group in groups for column in group.columns if _used(column, entries)}
        kept = [replace(group, columns=tuple(each for each in group.columns if each.name in used)) for group in groups]
        lines = [line for row, entry in pairs for line in _three_lines(row, entry, groups, used)]
        yield Block(tuple(group for group in kept if group.columns), tuple(lines), spec.protocol, spec.source)


def _three_lines(row: Row, entry: PublishedEntry, groups: Sequence[Group], used: set[str]) -> Iterator[Row]:
    columns = [column for group in groups for column in group.columns]
    pairs = [pair for pair in zip(columns, row.cells, strict=True) if pair[0].name in used]
    yield Row(f"{row.label}, measured", row.run, tuple(replace(cell, marks=()) for _, cell in pairs))
    printed = [_cell(_as_printed(column, [entry]), entry) for column, _ in pairs]
    yield Row(f"{entry.label}, published", "", tuple(printed), entry.source)
    differences = [cell.published for _, cell in pairs]
    cells = [Cell() if each is None else Cell(each.difference_text, each.difference) for each in differences]
    yield Row("Difference", "", tuple(cells))
