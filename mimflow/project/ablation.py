"""The spec of an ablation: one run, varied by a grid, in step, or by a list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Annotated, Any

from pydantic import Field

from mimflow.spec.base import OUTSIDE_KEY, Name, Problem, Spec
from mimflow.spec.ties import is_tie

GRID_LIMIT = 256
"""Runs that one ablation may expand to."""

DottedPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
"""`phases.main.optimizer.lr`: fields, and numbers of list items, joined by dots."""
OverridePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.([A-Za-z0-9_-]+|\*))*$")]
"""A dotted path in which `*` may stand for every item of a list: `phases.main.objective.auxiliary.*.weight`."""


class Variant(Spec):
    """One run of a list: a name and what it changes."""

    name: Name
    label: Annotated[str, OUTSIDE_KEY] = ""
    overrides: dict[OverridePath, Any] = {}
    """What it changes. Of `deviations` only where the run is a twin: so an ablation can be of the paper's run too."""


class AblationSpec(Spec):
    """Runs that differ from one run in named fields. Give one of `grid`, `zip` and `variants`."""

    ties = False
    label: Annotated[str, OUTSIDE_KEY] = ""
    run: Name
    """The run that is varied."""
    grid: dict[OverridePath, list[Any]] | None = None
    """Axes of values, of which every combination is a variant."""
    zip: dict[OverridePath, list[Any]] | None = None
    """Axes of values that go side by side: the first values together, the second values together, …"""
    variants: list[Variant] | None = None
    """Variants by name, each with its own overrides."""

    def problems(self) -> Iterator[Problem]:
        given = [name for name in ("grid", "zip", "variants") if getattr(self, name) is not None]
        if len(given) != 1:
            yield Problem((), f"gives {' and '.join(given) or 'none'} of grid, zip and variants", "give exactly one")
            return
        if not getattr(self, given[0]):
            yield Problem((given[0],), "empty", "at least one run")
        axes = self.grid or self.zip or {}
        for path, values in axes.items():
            if not values:
                yield Problem((given[0], path), "no values", "at least one")
        if self.zip is not None and len({len(values) for values in self.zip.values()}) > 1:
            lengths = ", ".join(f"{path} has {len(values)}" for path, values in self.zip.items())
            yield Problem(("zip",), f"lists of different length: {lengths}", "the same number of values each")
        size = prod(len(values) for values in axes.values()) if self.grid is not None else self._length
        if size > GRID_LIMIT:
            yield Problem((given[0],), f"{size} runs, more than the {GRID_LIMIT} an ablation may have", "split it")
        names = [variant.name for variant in self.variants or []]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Problem(("variants", index, "name"), f"two variants named '{name}'", "names differ")

    @property
    def _length(self) -> int:
        """How many variants a zip or a list has."""
        return max((len(values) for values in (self.zip or {}).values()), default=len(self.variants or []))

    def expand(self) -> list[Variant]:
        """The variants in order; those of a grid or a zip are named after the values that they set."""
        if self.variants is not None:
            return list(self.variants)
        axes = self.grid or self.zip or {}
        rows = product(*axes.values()) if self.grid is not None else zip(*axes.values(), strict=True)
        return [named(dict(zip(axes, row, strict=True))) for row in rows]


def variant_name(overrides: dict[str, Any]) -> str:
    """A name made of values and of the fields that they are set to, but for what is tied to others: `weight-0-5`."""
    parts = [f"{path.rpartition('.')[2]}-{value}" for path, value in overrides.items() if not is_tie(value)]
    slug = re.sub(r"[^a-z0-9_]+", "-", "-".join(parts).lower()).strip("-_") or "variant"
    return slug[:48].rstrip("-")


def named(overrides: dict[str, Any]) -> Variant:
    """A variant that is named after the values that it sets."""
    told = {path: value for path, value in overrides.items() if not is_tie(value)}
    label = ", ".join(f"{path.rpartition('.')[2]} {value}" for path, value in told.items())
    return Variant(name=variant_name(overrides), label=label, overrides=overrides)
