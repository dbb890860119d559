"""How a table is set as TeX, for booktabs and any engine."""

from __future__ import annotations

import re
from collections.abc import Callable

from mimflow.products.table.layout import RAISED, after, heading
from mimflow.products.table.model import Block, Cell, Group
from mimflow.products.table.symbols import code, named, symbol

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after `\\` TeX would read an argument
        "*": "{*}",  # and here its starred form
    }
    | {raised: rf"\textsuperscript{{{digit}}}" for digit, raised in RAISED.items()}
)
_NO_ASCII = re.compile(r"[^\x00-\x7f]")


def latex(text: str) -> str:
    """A text with TeX's own characters escaped, on one line, and symbols that pdfTeX's fonts lack as maths.

    What neither its fonts nor its maths have stands as its code, `U+4E2D`.
    """
    return _NO_ASCII.sub(lambda match: _symbol(match.group()), " ".join(text.split()).translate(_LATEX))


def _symbol(character: str) -> str:
    known = symbol(character)
    return rf"\texttt{{{code(character)}}}" if known is None else known


def unknown_characters(tex: str) -> str:
    """The characters that stand as their codes in a text that `latex` has set, as comments with their names."""
    found = {chr(int(match, 16)) for match in re.findall(r"\\texttt\{U\+([0-9A-F]{4,6})\}", tex)}
    return "".join(f"% {line}: no character of every TeX\n" for line in named("".join(found)))


def latex_cell(cell: Cell) -> str:
    r"""`\textbf{12.3} $\pm$ 0.4 (n=2/3)\textsuperscript{1}`; the second best is `\underline{12.9}`."""
    text = latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.best else rf"\underline{{{text}}}" if cell.second else text
    marks = ",".join(map(str, cell.marks))
    tail = after(cell)
    return text + (f" {latex(tail)}" if tail else "") + (rf"\textsuperscript{{{marks}}}" if marks else "")


def tabular(block: Block, cell: Callable[[Cell], str] = latex_cell) -> str:
    """A block as a `tabular`: outputs above, their metrics below them, no vertical rules.

    `cell` sets a cell: a template's own macro, where it is to look otherwise.
    """
    sourced = any(row.source for row in block.rows)
    grouped = any(group.heading for group in block.groups)
    metrics = [latex(heading(column)) if group.heading else "" for group in block.groups for column in group.columns]
    end = ["Source"] if sourced else []
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(block.columns)}{'l' * sourced}}}",
        r"\toprule",
        _row(["", *_spanning(block.groups), *end]),
    ]
    if grouped:
        lines += [_rules(block.groups), _row(["", *metrics, *("" for _ in end)])]
    lines.append(r"\midrule")
    for row in block.rows:
        source = [latex(row.source)] if sourced else []
        lines.append(_row([latex(row.label), *(cell(each).strip() for each in row.cells), *source]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _spanning(groups: tuple[Group, ...]) -> list[str]:
    cells = []
    for group in groups:
        if group.heading:
            cells.append(rf"\multicolumn{{{len(group.columns)}}}{{c}}{{{latex(group.heading)}}}")
        else:
            cells += [latex(heading(column)) for column in group.columns]
    return cells


def _rules(groups: tuple[Group, ...]) -> str:
    """A thin line under each output's heading."""
    rules, first = [], 2
    for group in groups:
        last = first + len(group.columns) - 1
        if group.heading:
            rules.append(rf"\cmidrule(lr){{{first}-{last}}}")
        first = last + 1
    return " ".join(rules)
