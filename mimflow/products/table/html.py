"""How a table is set as HTML: with a caption and scopes, so that a screen reader says a number's row and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from markupsafe import Markup

from mimflow.products.table.layout import after, heading
from mimflow.products.table.model import Block, Cell, Group, Row

_SPOKEN = {"lower": "lower is better", "higher": "higher is better"}


def html_cell(cell: Cell) -> Markup:
    """`<strong>12.3</strong> ± 0.4 (n=2/3)<sup>1</sup>`; the second best is `<u>12.9</u>`."""
    text = Markup("{}").format(cell.text)
    if cell.best:
        text = Markup("<strong>{}</strong>").format(text)
    elif cell.second:
        text = Markup("<u>{}</u>").format(text)
    marks = Markup("<sup>{}</sup>").format(",".join(map(str, cell.marks))) if cell.marks else ""
    return Markup("{}{}{}").format(text, after(cell), marks)


def html_table(block: Block, caption: str, cell: Callable[[Cell], str] = html_cell) -> Markup:
    """A block as a `table`: outputs above, their metrics below them.

    `cell` sets a cell: a template's own macro, where it is to look otherwise.
    """
    return Markup("\n").join(_lines(block, caption, lambda row, place: cell(row.cells[place])))


def placed_table(block: Block, caption: str, cell: Callable[[Row, int], str]) -> Markup:
    """The same, for who sets a cell by its row and the place of its column."""
    return Markup("\n").join(_lines(block, caption, cell))


def _lines(block: Block, caption: str, cell: Callable[[Row, int], str]) -> Iterator[Markup]:
    sourced = any(row.source for row in block.rows)
    grouped = any(group.heading for group in block.groups)
    yield Markup("<table>\n<caption>{}</caption>\n<colgroup></colgroup>").format(caption)
    yield from (Markup('<colgroup span="{}"></colgroup>').format(len(group.columns)) for group in block.groups)
    yield Markup("{}<thead>").format(Markup("<colgroup></colgroup>\n") if sourced else "")
    rows = Markup(' rowspan="2"') if grouped else ""
    yield Markup("<tr><td{}></td>").format(rows)
    for group in block.groups:
        if group.heading:
            yield Markup('<th scope="colgroup" colspan="{}">{}</th>').format(len(group.columns), group.heading)
        else:
            yield from _columns(group, rows)
    yield Markup("{}</tr>").format(Markup('<th scope="col"{}>Source</th>').format(rows) if sourced else "")
    if grouped:
        yield Markup("<tr>")
        yield from (line for group in block.groups if group.heading for line in _columns(group, ""))
        yield Markup("</tr>")
    yield Markup("</thead>\n<tbody>")
    for row in block.rows:
        yield Markup('<tr><th scope="row">{}</th>').format(row.label)
        yield from (Markup("<td>{}</td>").format(Markup(cell(row, place))) for place in range(len(row.cells)))
        yield Markup("{}</tr>").format(Markup('<td class="source">{}</td>').format(row.source) if sourced else "")
    yield Markup("</tbody>\n</table>")


def _columns(group: Group, rows: str) -> Iterator[Markup]:
    for column in group.columns:
        spoken = _SPOKEN.get(column.direction or "")
        title = Markup(' title="{}"').format(spoken) if spoken else ""
        yield Markup('<th scope="col"{}{}>{}</th>').format(rows, title, heading(column))
