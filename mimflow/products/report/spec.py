"""The spec of a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import Name, Problem


class ReportSpec(ProductSpec):
    """One HTML file of a project's products, with the origin of every number and what is missing."""

    products: Annotated[list[Name], Field(min_length=1)] | None = None
    """Tables, figures and pages of claims, in order: to ask for the report makes all of them. Not given: those whose
    results are all there, so that to ask for the report trains nothing; what the others would cost stands in it."""
    notes: list[str] = []
    """Paragraphs at its head."""

    def problems(self) -> Iterator[Problem]:
        names = self.products or []
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Problem(("products", index), f"'{name}' twice", "each once")
