"""Blocks of published numbers: transcribed, with their own protocol and source, never beside measured rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mimflow.products.table import wording
from mimflow.products.table.model import Block, Cell, Column, Group, Row
from mimflow.products.table.spec import PublishedRows
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
