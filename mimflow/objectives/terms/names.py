"""Names of the figures of terms that come in lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

CONSTANT = "_constant"
"""How the names of figures end that say what the best constant would give in place of a term's tokens."""


def constant_of(name: str) -> str:
    """The figure that says what the best constant would give where a term gives `name`."""
    return f"{name}{CONSTANT}"


def with_figure_names(name: str, terms: Iterable[T]) -> Iterator[tuple[str, T]]:
    """Terms with the names of their figures: `alignment` of one, `alignment_0`, `alignment_1`, … of several."""
    several = list(terms)
    for index, term in enumerate(several):
        yield (name if len(several) == 1 else f"{name}_{index}"), term
