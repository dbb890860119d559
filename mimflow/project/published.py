"""The spec of published numbers."""

from __future__ import annotations

from pydantic import Field

from mimflow.spec.base import Count, Name, Spec


class PublishedEntry(Spec):
    """One row of a published table."""

    label: str
    primary: bool
    """Whether the source reports its own result; a number it quotes from elsewhere is second-hand."""
    source: str
    """Where the numbers stand: the paper and the table."""
    parameters: str | None = None
    """As printed, where the source counts the whole system."""
    prior_parameters: str | None = None
    """As printed, where the source counts the prior alone: most do, and leave the tokenizer out."""
    epochs: Count | None = None
    values: dict[str, dict[str, float]] = {}
    """The numbers, by output (`unguided`, `guided`), then by metric."""


class PublishedSpec(Spec):
    """Numbers transcribed from papers, measured under one protocol."""

    source: str
    """The papers that the numbers are from."""
    protocol: str
    """How the numbers were measured: data set, sample count and evaluator, in words."""
    entries: dict[Name, PublishedEntry] = Field(min_length=1)
