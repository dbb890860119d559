"""A table as JSON: every cell with all that is known of it, at full precision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mimflow.products.table.model import Block, Cell, Column, Row, Table


def json_text(table: Table) -> str:
    """Blocks of rows of cells. What a cell has not is null; the jobs are folders of the store."""
    data = {
        "name": table.name,
        "title": table.title,
        "blocks": [_block(kind, block, table) for kind, block in _blocks(table)],
        "rules": table.rules,
        "protocol": dict(_distinct(table.protocol)),
        "notes": table.notes,
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _blocks(table: Table) -> Iterator[tuple[str, Block]]:
    yield "measured", table.measured
    yield from (("swept", block) for block in table.swept)
    yield from (("published", block) for block in table.published)


def _distinct(lines: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """Terms and texts, those of a term that comes again joined: a table has several protocols."""
    for term in dict.fromkeys(term for term, _ in lines):
        yield term, "; ".join(text for each, text in lines if each == term)


def _block(kind: str, block: Block, table: Table) -> dict[str, Any]:
    return {
        "kind": kind,
        "protocol": block.protocol,
        "source": block.source or None,
        "rows": [
            {
                "label": row.label,
                "run": row.run or None,
                "source": row.source or None,
                "cells": [
                    _cell(row, column, cell, block, table)
                    for column, cell in zip(block.columns, row.cells, strict=True)
                ],
            }
            for row in block.rows
        ],
    }


def _cell(row: Row, column: Column, cell: Cell, block: Block, table: Table) -> dict[str, Any]:
    return {
        "column": column.name,
        "heading": column.heading,
        "output": cell.output or column.output,
        "metric": column.metric,
        "protocol": (column.protocol or None) if row.run else block.protocol,
        "unit": column.unit or None,
        "better": column.direction,
        "text": cell.text,
        "value": cell.value,
        "std": cell.std,
        "n": cell.n if row.run and column.metric else None,
        "seeds": {str(seed): value for seed, value in cell.seeds} or None,
        "own_std": cell.own_std,
        "count": cell.count,
        "best": cell.best,
        "second": cell.second,
        "change": None
        if cell.change is None
        else {
            "value": cell.change.value,
            "interval": cell.change.interval,
            "verdict": cell.change.verdict or None,
        },
        "published": None
        if cell.published is None
        else {"value": cell.published.value, "difference": cell.published.difference},
        "picked": cell.picked or column.point or None,
        "footnotes": [table.footnotes[mark - 1] for mark in cell.marks],
        "jobs": cell.jobs,
    }
