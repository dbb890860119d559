"""How a table is set as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

from mimflow.artifacts.cells import to_cell
from mimflow.products.table.model import Block, Cell, Column, Group, Table

_ARROWS = {"lower": " ↓", "higher": " ↑"}
RAISED = dict(zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
"""Superscript digits, by digit."""
_MARKDOWN = re.compile(r"[\\`*|<\[\]$~]|&(?=#?\w+;)|(?<!\S)#(?=#*$)|(?<!\w)_|_(?!\w)")
_CSV_COLUMNS = ("row", "run", "output", "metric", "value", "std", "n", "count", "protocol", "source", "key")
_POINT = "point"
"""A column more, of tables with sweeps: the values of a point."""
_CHANGE = "change"
"""A column more, of tables with a baseline: the value minus the baseline's."""
_BESIDE = ("published", "difference")
"""Columns more, of tables whose rows name published entries: the published value, and the measured one minus it."""


def heading(column: Column) -> str:
    """A column's heading with an arrow towards its better end."""
    return column.heading + _ARROWS.get(column.direction or "", "")


def raised(number: int) -> str:
    """A footnote's number in superscript digits."""
    return "".join(RAISED[digit] for digit in str(number))


def after(cell: Cell) -> str:
    """What follows a value: its spread, how many seeds it is from where some are missing, the change."""
    spread = f" ± {cell.spread}" if cell.spread else ""
    short = f" (n={cell.short})" if cell.short else ""
    return spread + short + (f" ({cell.change.words})" if cell.change else "")


# -- Markdown ------------------------------------------------------------------------------------------------------


def markdown(text: str) -> str:
    """A text with Markdown's own characters escaped, on one line."""
    return _MARKDOWN.sub(lambda match: "\\" + match.group(), " ".join(text.split()))


def markdown_cell(cell: Cell) -> str:
    """`**12.3** ± 0.4 (n=2/3) (−3.2, better)¹`; the second best is `<ins>12.9</ins>`, which GitHub underlines."""
    text = markdown(cell.text)
    text = f"**{text}**" if cell.best else f"<ins>{text}</ins>" if cell.second else text
    return text + after(cell) + ",".join(map(raised, cell.marks))


def pipe_table(block: Block, cell: Callable[[Cell], str] = markdown_cell) -> str:
    """A block as a Markdown table that can be read as text, too: outputs above, their metrics below them.

    `cell` sets a cell: a template's own macro, where it is to look otherwise.
    """
    grouped = any(group.heading for group in block.groups)
    sourced = any(row.source for row in block.rows)
    first = ["", *("" if group.heading else heading(column) for group in block.groups for column in group.columns)]
    second = ["", *(heading(column) if group.heading else "" for group in block.groups for column in group.columns)]
    body = [[markdown(row.label), *(cell(each).strip() for each in row.cells)] for row in block.rows]
    lines = [list(map(markdown, first)), list(map(markdown, second)), *body]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(first))]
    spans = _spans(block.groups, widths)
    source = ["Source", "", *(markdown(row.source) for row in block.rows)] if sourced else []
    width = max(map(len, source), default=0)

    def end(place: int) -> str:
        return f" {source[place].ljust(width)} |" if sourced else ""

    rule = "|".join([":".ljust(widths[0] + 2, "-"), *("-" * (size + 1) + ":" for size in widths[1:])])
    aligned = [_line(cells, widths) + end(place) for place, cells in enumerate(lines[1:], start=1)]
    top = f"| {' ' * widths[0]} |" + "".join(f" {span} |" for span in spans) + end(0)
    rule = f"|{rule}|" + (":".ljust(width + 2, "-") + "|" if sourced else "")
    return "\n".join([top, rule, *(aligned if grouped else aligned[1:])])


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cells[0].ljust(widths[0]), *(cell.rjust(size) for cell, size in zip(cells[1:], widths[1:], strict=True))]
    return f"| {' | '.join(padded)} |"


def _spans(groups: tuple[Group, ...], widths: list[int]) -> list[str]:
    """The first line's cells: a fact's heading over its column, an output's over all of its columns.

    Markdown cannot merge cells: those that follow a heading are empty and as narrow as can be. Widens the last column
    of a group whose heading is longer than its columns.
    """
    texts, place = [], 1
    for group in groups:
        columns = range(place, place + len(group.columns))
        place += len(group.columns)
        if not group.heading:
            texts += [
                markdown(heading(column)).rjust(widths[index])
                for index, column in zip(columns, group.columns, strict=True)
            ]
            continue
        empty = " |" * (len(columns) - 1)
        title = markdown(group.heading) + empty
        width = sum(widths[index] for index in columns) + 3 * (len(columns) - 1)
        widths[columns[-1]] += max(0, len(title) - width)
        texts.append(title[: len(title) - len(empty)].ljust(width - len(empty)) + empty)
    return texts


# -- CSV -----------------------------------------------------------------------------------------------------------


def tidy(table: Table) -> str:
    """One line a row, output and metric that has been measured, at full precision; `key` names the evaluations.

    Published ones have a source instead. Of a sweep every point has lines of its own, besides those of the one that was
    picked. A text that a spreadsheet would run has an apostrophe before it.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    changes = any(cell.change is not None for row in table.measured.rows for cell in row.cells)
    more = [*([_CHANGE] if changes else []), *(_BESIDE if table.compared else []), *([_POINT] if table.swept else [])]
    writer.writerow((*_CSV_COLUMNS, *more))
    for block in (table.measured, *table.swept, *table.published):
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                if column.metric is not None and (cell.jobs or cell.value is not None):
                    values = [
                        row.label,
                        row.run,
                        column.output,
                        column.metric,
                        cell.value,
                        cell.std,
                        cell.n if row.run else None,
                        cell.count,
                        column.protocol if row.run else block.protocol,
                        row.source,
                        " ".join(cell.jobs),
                        *([cell.change.value if cell.change else None] if changes else []),
                        *(_beside(cell) if table.compared else []),
                        *([column.point or cell.picked] if table.swept else []),
                    ]
                    writer.writerow(map(to_cell, values))
    return stream.getvalue()


def _beside(cell: Cell) -> tuple[float | None, float | None]:
    return (None, None) if cell.published is None else (cell.published.value, cell.published.difference)
