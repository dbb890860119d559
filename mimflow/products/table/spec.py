"""The specs of tables and of the published numbers that stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import Name, Problem, Spec


class PublishedRows(Spec):
    """Rows of a published table, in a block of their own."""

    file: Name
    """A file of `specs/published`."""
    entries: list[Name] = Field(min_length=1)


class Row(Spec):
    """Measured rows: a run, or every run of an ablation."""

    run: Name | None = None
    ablation: Name | None = None
    label: str = ""
    """Instead of the run's own label."""

    def problems(self) -> Iterator[Problem]:
        if (self.run is None) == (self.ablation is None):
            yield Problem((), "gives both or neither of run and ablation", "give one")


class FactColumn(Spec):
    """A column that needs no samples."""

    kind: Literal["fact"] = "fact"
    fact: Literal["parameters", "epochs", "seeds"]
    label: str = ""


class MetricColumn(Spec):
    """A column of one metric, under the table's protocol, of one output."""

    kind: Literal["metric"] = "metric"
    metric: Name
    """`fid`, `is`, `kid`, `precision`, `recall`, `class_accuracy`, …: what a metric of the protocol reports."""
    output: Name
    """A named output of the runs; a run without it shows —."""
    label: str = ""
    digits: Annotated[int, Field(ge=0, le=8)] = 2
    """Digits after the point."""
    better: Literal["lower", "higher"] | None = None
    """Which end is set in bold."""


class TableSpec(ProductSpec):
    """A table: published rows, measured rows, columns, one protocol."""

    protocol: Name
    """A protocol of `specs/protocols`: every measured number is measured under it."""
    published: list[PublishedRows] = []
    rows: list[Row] = Field(min_length=1)
    columns: list[Annotated[FactColumn | MetricColumn, Field(discriminator="kind")]] = Field(min_length=1)
    seeds: list[int] | None = None
    """Instead of each run's own seeds."""
    template: str | None = None
    """A Jinja2 template of the user's, by path; not given: the ones that come along."""
    notes: list[str] = []
    """Sentences under the table."""
