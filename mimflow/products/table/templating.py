"""Jinja2: the templates that come along, and a user's own instead of one of them.

A template may be somebody else's: it runs in Jinja2's sandbox, and can include templates (`….j2`) of its own folder and
those that come along, but read no other file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mimflow.errors import SpecError
from mimflow.products.table.html import html_cell, html_table, placed_table
from mimflow.products.table.latex import latex, latex_cell, tabular, unknown_characters
from mimflow.products.table.layout import markdown, markdown_cell, pipe_table, raised
from mimflow.products.table.model import Block, Row, Table
from mimflow.products.table.product import TEMPLATES

TEXTS: Mapping[str, dict[str, Callable[..., str]]] = {
    "md": {"md": markdown, "cell": markdown_cell, "pipe_table": pipe_table, "raised": raised},
    "tex": {"tex": latex, "cell": latex_cell, "tabular": tabular},
    "html": {"cell": html_cell, "html_table": html_table},
}
"""The filters of templates, by the ending of the file that they make."""
_TEX_MARKS: Mapping[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}
_LIBRARY = Path(jinja2.__file__).parent


class _Templates(jinja2.FileSystemLoader):
    """The template of a name, and others that lie beside it, links followed."""

    def __init__(self, folders: list[Path], main: str):
        super().__init__(folders)
        self.main = main
        self.roots = [folder.resolve() for folder in folders]

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, name, fresh = super().get_source(environment, template)
        real = Path(name).resolve()
        beside = template.endswith(".j2") and any(real.is_relative_to(root) for root in self.roots)
        if template != self.main and not beside:
            raise jinja2.TemplateNotFound(template)
        return source, name, fresh


def kind_of(template: str) -> str:
    """The ending of the file that a user's template makes, by its name: tex of `….tex.j2`, md of any other name."""
    return next((kind for kind in TEXTS if template.endswith(f".{kind}.j2")), "md")


def render_own(table: Table, kind: str) -> str:
    """The table as Markdown, TeX or HTML (`kind`, a file's ending), by the template that comes along."""
    name = f"table.{kind}.j2"
    text = _environment(kind, [], name).get_template(name).render(table=table)
    return text + unknown_characters(text) if kind == "tex" else text


def render_section(table: Table, cell: Callable[[Row, int], str], **more: Any) -> str:
    """What a report shows of a table. `cell` sets a measured cell, by its row and the place of its column."""

    def set_table(block: Block, caption: str) -> str:
        return placed_table(block, caption, cell) if block is table.measured else html_table(block, caption)

    name = "section.html.j2"
    environment = _environment("html", [], name)
    environment.filters["html_table"] = set_table
    return environment.get_template(name).render(table=table, **more)


def render_users(table: Table, file: Path, shown: str) -> str:
    """The table by a user's template, which may include `table.md.j2`. SpecError for what is wrong with it."""
    kind = kind_of(file.name)
    try:
        text = _environment(kind, [file.parent], file.name).get_template(file.name).render(table=table)
    except jinja2.TemplateSyntaxError as error:
        name = shown if error.name in (None, file.name) else error.name
        raise _broken(f"{name}:{error.lineno}", error.message or "not a template", table) from error
    except jinja2.TemplateNotFound as error:
        raise _broken(f"{shown}:{_line(error.__traceback__, file)}", f"no template '{error.name}'", table) from error
    except UnicodeDecodeError as error:
        raise _broken(shown, f"not UTF-8: {error.reason} at byte {error.start}", table) from error
    except Exception as error:
        if not isinstance(error, jinja2.TemplateError) and not _of_template(error.__traceback__, file):
            raise
        message = str(error) or type(error).__name__
        raise _broken(f"{shown}:{_line(error.__traceback__, file)}", message, table) from error
    return text + unknown_characters(text) if kind == "tex" else text


def _environment(kind: str, folders: list[Path], main: str) -> jinja2.Environment:
    """TeX's marks are `<< >>` and `<% %>`: it uses the usual ones. HTML escapes all that no filter has set."""
    environment = ImmutableSandboxedEnvironment(
        loader=_Templates([*folders, TEMPLATES], main),
        undefined=jinja2.StrictUndefined,
        autoescape=kind == "html",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(_TEX_MARKS if kind == "tex" else {}),
    )
    environment.filters |= TEXTS[kind]
    return environment


def _broken(place: str, message: str, table: Table) -> SpecError:
    return SpecError(f"{place}: template of table '{table.name}': {message}")


def _frames(traceback: TracebackType | None) -> list[tuple[Path, int]]:
    found = []
    while traceback is not None:
        found.append((Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno))
        traceback = traceback.tb_next
    return found


def _line(traceback: TracebackType | None, file: Path) -> int:
    """The last line of the template that was at work; Jinja2 puts its lines into tracebacks."""
    return next((line for path, line in reversed(_frames(traceback)) if path == file), 1)


def _of_template(traceback: TracebackType | None, file: Path) -> bool:
    """Whether an error was raised by the template's text, or by Jinja2 on its behalf, and not by a filter of ours."""
    last = _frames(traceback)[-1][0]
    return last == file or last.is_relative_to(_LIBRARY)
