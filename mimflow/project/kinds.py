"""Kinds of spec: what a project can hold, and where each lies below `specs`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal

from mimflow.spec.base import OUTSIDE_KEY, Spec


@dataclass(frozen=True)
class Kind:
    """A kind of spec: its class, and the folders of `specs` that hold it."""

    name: str
    spec: type[Spec]
    folders: tuple[str, ...]


class PaperItem(Spec):
    """The table, figure or claim of a paper that a spec is of."""

    of: Literal["simflow", "mimflow", "itarflow", "tarflow", "starflow", "sit"]
    """The paper."""
    item: str
    """What it is called there: `Table 6`, `Figure 3a`, `abstract`."""
    needs: str = ""
    """What it takes at the paper's scale, in a sentence: weights, data, hours."""


class ProductSpec(Spec):
    """What every product's spec can say."""

    title: str
    """What stands above it."""
    paper: Annotated[PaperItem | None, OUTSIDE_KEY] = None
    """The item of a paper that it is, at whichever scale."""
    by_default: Annotated[bool, OUTSIDE_KEY] = False
    """Whether `snakemake` makes it when it is asked for nothing, and DVC versions it."""
    with_papers: Annotated[bool, OUTSIDE_KEY] = True
    """Whether `snakemake papers` makes it, of those that are an item of a paper."""


@dataclass(frozen=True)
class ProductKind(Kind):
    """A kind of product: its spec, and the import path of the class that plans and renders it."""

    target: str
    """`mimflow.products.table.product:TableProduct`, imported when a product is planned."""
    suffixes: tuple[str, ...]
    """The endings of the files that are rendered for it: `results/NAME.md`."""
    describe: str | None = None
    """The import path of what makes its spec, given the workspace and the name of a run: of a kind that no file
    describes, and that every run has one of. Its products are named `FOLDER/RUN`, by the one folder of `folders`."""
    check: str | None = None
    """The import path of what yields lines for contradictions with other specs, given the workspace and the spec."""

    def build(self, *arguments: Any) -> Any:
        """The product, planned."""
        return _imported(self.target)(*arguments)

    def described(self, *arguments: Any) -> Any:
        """What `describe` makes."""
        assert self.describe is not None
        return _imported(self.describe)(*arguments)

    def problems(self, *arguments: Any) -> Any:
        """What `check` finds; nothing without one."""
        return _imported(self.check)(*arguments) if self.check is not None else ()


def _imported(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
