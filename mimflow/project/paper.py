"""The spec of a paper: its tables, figures and claims, which products and claims of the project then are of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import Field

from mimflow.project.kinds import PaperItem
from mimflow.spec.base import Problem, Spec

_BETWEEN = re.compile(r"; | and ")
"""What stands between several items where a spec is of more than one."""


class PaperEntry(Spec):
    """A table, a figure or a claim of a paper's, or a setting that its release offers."""

    item: str
    """What specs call it under `paper.item`: `Table 6`, `sampling: ODE and SDE`."""
    what: str
    """What it shows, in a few words."""
    missing: str | None = None
    """Why no spec makes it; not given where one does."""

    def is_named(self, paper: PaperItem) -> bool:
        """Whether what a spec says of its paper names this item, alone or beside others."""
        return self.item == paper.item or self.item in _BETWEEN.split(paper.item)


class PaperSpec(Spec):
    """A paper, and what of it is to be made again. Its file's name is what specs call it under `paper.of`."""

    title: str
    source: str
    """Who wrote it, and where it stands."""
    items: list[PaperEntry] = Field(min_length=1)

    def problems(self) -> Iterator[Problem]:
        names = [entry.item for entry in self.items]
        for place, name in enumerate(names):
            if name in names[:place]:
                yield Problem(("items", place, "item"), f"'{name}' twice", "each once")
