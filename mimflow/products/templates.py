"""Jinja2: templates of ours that nobody can replace. Tables' can be, and have an environment of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import jinja2


def own_template(file: Path, filters: Mapping[str, Callable[..., str]] | None = None) -> jinja2.Template:
    """A template that comes along. One of HTML (`….html.j2`) escapes all that no filter has set."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(file.parent),
        undefined=jinja2.StrictUndefined,
        autoescape=file.name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(file.name)
