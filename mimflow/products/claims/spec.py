"""The spec of a page of claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import Name, Problem, repeated


class ClaimsSpec(ProductSpec):
    """A page of claims with their verdicts."""

    claims: list[Name] | None = None
    """Claims of `specs/claims`, in order; not given: all of them, by name."""
    seeds: Annotated[list[int], Field(min_length=1)] | None = None
    """Seeds that are paired, in place of each claim's own."""
    notes: list[str] = []
    """Sentences under them."""

    def problems(self) -> Iterator[Problem]:
        yield from repeated("seeds", self.seeds, "seed")
