"""The spec of a page of claims."""

from __future__ import annotations

from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import Name


class ClaimsSpec(ProductSpec):
    """A page of claims with their verdicts."""

    claims: list[Name] | None = None
    """Claims of `specs/claims`, in order; not given: all of them, by name."""
    notes: list[str] = []
    """Sentences under them."""
