"""Jinja2: the templates that come along, and a user's own instead of the Markdown one.

A template may be somebody else's: it runs in Jinja2's sandbox, and can include templates (`….j2`) of its own folder and
those that come along, but read no other file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mimflow.errors import SpecError
from mimflow.products.table.latex import latex, latex_cell, tabular, unknown_characters
from mimflow.products.table.layout import markdown, markdown_cell, pipe_table, raised
from mimflow.products.table.model import Table
from mimflow.products.table.product import TEMPLATES

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


def render_tex(table: Table) -> str:
    """The table as TeX. Its template's marks are `<< >>` and `<% %>`: TeX uses the usual ones."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters |= {"tex": latex, "cell": latex_cell, "tabular": tabular}
    tex = environment.get_template("table.tex.j2").render(table=table)
    return tex + unknown_characters(tex)


def render_markdown(table: Table) -> str:
    """The table as Markdown, by the template that comes along."""
    return _markdown_environment([], "table.md.j2").get_template("table.md.j2").render(table=table)


def render_users(table: Table, file: Path, shown: str) -> str:
    """The table by a user's template, which may include `table.md.j2`. SpecError for what is wrong with it."""
    try:
        return _markdown_environment([file.parent], file.name).get_template(file.name).render(table=table)
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


def _markdown_environment(folders: list[Path], main: str) -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        loader=_Templates([*folders, TEMPLATES], main),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": markdown, "cell": markdown_cell, "pipe_table": pipe_table, "raised": raised}
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
