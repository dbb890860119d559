"""The specs of tables and of the published numbers that stand beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, Tag

from mimflow.contents.spec import GivenSamples
from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import SLUG, FilePath, Name, Problem, Spec, repeated
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import nearest
from mimflow.spec.forms import FORM, MAPPING, WORD

FACTS = ("parameters", "prior_parameters", "epochs", "seeds")
"""What a table can say of a run that needs no output."""
_METRIC = re.compile(rf"(?P<output>{SLUG.pattern})\.(?P<metric>{SLUG.pattern})")
_WORDS = {"anyOf": [{"enum": list(FACTS)}, {"pattern": rf"^{SLUG.pattern}\.{SLUG.pattern}$"}]}
"""What editors are told of a column in a word."""


class PublishedRows(Spec):
    """Rows of a published table, in a block of their own."""

    file: Name
    """A file of `specs/published`."""
    entries: list[Name] = Field(min_length=1)


class EntryName(Spec):
    """A published entry that stands beside what was measured."""

    file: Name
    """A file of `specs/published`."""
    entry: Name


class Row(Spec):
    """Measured rows: a run, every run of an ablation, or samples that were made elsewhere."""

    run: Name | None = None
    ablation: Name | None = None
    samples: GivenSamples | None = None
    """Samples of other people's: `{file, sha256, label}`."""
    output: Name | None = None
    """Of samples: the output in whose columns they stand; not given: the only one whose columns are of samples."""
    label: str = ""
    """Instead of the run's own label."""
    published: EntryName | None = None
    """What a paper gives for it: measured, published and their difference stand in three lines below the table."""

    def problems(self) -> Iterator[Problem]:
        given = [name for name in ("run", "ablation", "samples") if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(given) or "none of run, ablation and samples"
            yield Problem((), f"gives {what}", "give one of run, ablation and samples")
        if self.output is not None and self.samples is None:
            yield Problem(("output",), "a run stands in the columns of its own outputs", "leave it out")
        if self.published is not None and self.ablation is not None:
            yield Problem(("published",), "one entry for all runs of an ablation", "rows of its runs: {run: …}")


class MetricColumn(Spec):
    """A column of one metric that says something otherwise than the metric's own spec."""

    metric: Name
    """`fid`, `is`, `kid`, `precision`, `recall`, `class_accuracy`, …: what a metric of the protocol reports."""
    label: str | None = None
    """Its heading; not given: the metric's label."""
    digits: Annotated[int, Field(ge=0, le=8)] | None = None
    """Digits after the point; not given: the metric's."""


class Pick(Spec):
    """Which point of a sweep a table shows: the best by one number, with how many were tried and on what.

    The best of many on the numbers that are shown is better than it would be on others. Other seeds of the runs, or a
    protocol whose samples have another seed or whose reference is another split, pick on what is not shown.
    """

    metric: Name
    """The number that points are compared by, by the metric's better end: what a metric of the protocol reports."""
    protocol: Name | None = None
    """The protocol that it is measured under; not given: the table's."""
    seeds: Annotated[list[int], Field(min_length=1)] | None = None
    """The seeds of the runs over which its mean is taken; not given: those that the table shows."""

    def problems(self) -> Iterator[Problem]:
        yield from repeated("seeds", self.seeds, "seed")


class OutputColumns(Spec):
    """Columns of one output: its metrics under one protocol."""

    output: Name
    """A named output of the runs; a run without it shows —. Of a sweep each row shows the point that `pick` picks."""
    protocol: Name | None = None
    """The protocol of these columns; not given: the table's."""
    metrics: list[Annotated[Annotated[Name, Tag(WORD)] | Annotated[MetricColumn, Tag(MAPPING)], FORM]] = Field(
        min_length=1
    )
    """Each by its name, or with a label or digits of the column's own: `{metric: fid, digits: 2}`."""
    pick: Pick | None = None
    """How a point is picked where runs sweep the output: once for all its columns."""


@dataclass(frozen=True)
class AskedMetric:
    """A metric of an output that a table shows, whichever way its column is written."""

    output: str
    protocol: str
    column: MetricColumn
    output_path: FieldPath
    """Where the table names the output."""
    metric_path: FieldPath
    """Where it names the metric."""


class TableSpec(ProductSpec):
    """A table: published rows, measured rows, columns, a protocol of each."""

    protocol: Name
    """A protocol of `specs/protocols`: that of every column that names none of its own."""
    published: list[PublishedRows] = []
    rows: list[Row] = Field(min_length=1)
    columns: list[
        Annotated[
            Annotated[str, Tag(WORD), Field(json_schema_extra=_WORDS)] | Annotated[OutputColumns, Tag(MAPPING)], FORM
        ]
    ] = Field(min_length=1)
    """Each a fact (`parameters` of the whole system, `prior_parameters`, which papers count, `epochs`, `seeds`), a
    metric of an output (`guided.fid`), or several of them (`{output: guided, metrics: [fid, is]}`)."""
    baseline: Name | None = None
    """The run whose row the others are compared with: behind each of their numbers stands the change."""
    seeds: list[int] | None = None
    """Instead of each run's own seeds."""
    template: FilePath | None = None
    """A Jinja2 template of the user's, by path, in place of the one for TeX where its name ends in `.tex.j2`, for HTML
    where it ends in `.html.j2`, and for Markdown otherwise."""
    notes: list[str] = []
    """Sentences under the table."""

    @property
    def facts(self) -> list[str]:
        """The facts that it shows, in order."""
        return [column for column in self.columns if isinstance(column, str) and column in FACTS]

    @property
    def metrics(self) -> list[AskedMetric]:
        """The metrics that it shows, in order."""
        return [
            asked
            for index, column in enumerate(self.columns)
            for asked in _asked(column, ("columns", index), self.protocol)
        ]

    @property
    def outputs(self) -> list[str]:
        """The outputs that it shows something of, in order."""
        return list(dict.fromkeys(asked.output for asked in self.metrics))

    def samples_outputs(self, held: Mapping[str, str]) -> list[str]:
        """The outputs whose columns are of samples, given what those of its runs hold by name."""
        return [name for name in self.outputs if held.get(name, "samples") == "samples"]

    @property
    def protocols(self) -> list[str]:
        """The protocols of its columns, in order; the table's own where it shows no metric."""
        return list(dict.fromkeys(asked.protocol for asked in self.metrics)) or [self.protocol]

    def outputs_under(self, protocol: str) -> list[str]:
        """The outputs that it shows something of under a protocol, in order."""
        return list(dict.fromkeys(asked.output for asked in self.metrics if asked.protocol == protocol))

    @property
    def picks(self) -> dict[str, Pick]:
        """How points of sweeps are picked, by the output that a column names."""
        columns = [column for column in self.columns if isinstance(column, OutputColumns)]
        return {column.output: column.pick for column in columns if column.pick is not None}

    def problems(self) -> Iterator[Problem]:
        if self.seeds == []:
            yield Problem(("seeds",), "empty", "leave it out for each run's own")
        yield from repeated("seeds", self.seeds, "seed")
        words = [column if isinstance(column, str) else None for column in self.columns]
        for index, word in enumerate(words):
            if word is None or _METRIC.fullmatch(word):
                continue
            if word not in FACTS:
                yield Problem(
                    ("columns", index), f"'{word}' is neither a fact nor a metric of an output", _nearest(word)
                )
            elif word in words[:index]:
                yield Problem(("columns", index), f"fact '{word}' twice", "each once")
        for index, column in enumerate(self.columns):
            if isinstance(column, OutputColumns) and column.pick not in (None, self.picks.get(column.output)):
                yield Problem(
                    ("columns", index, "pick"), f"another pick of output '{column.output}' than later on", "one of them"
                )
        seen = set()
        for asked in self.metrics:
            name = (asked.output, asked.protocol, asked.column.metric)
            if name in seen:
                yield Problem(
                    asked.metric_path, f"metric '{asked.column.metric}' of output '{asked.output}' twice", "each once"
                )
            seen.add(name)


def _asked(column: str | OutputColumns, path: FieldPath, protocol: str) -> Iterator[AskedMetric]:
    """The metrics of one entry of the columns, under their own protocol or the table's: none of a fact."""
    if isinstance(column, str):
        if parts := _METRIC.fullmatch(column):
            yield AskedMetric(parts["output"], protocol, MetricColumn(metric=parts["metric"]), path, path)
        return
    protocol = column.protocol or protocol
    for index, metric in enumerate(column.metrics):
        place: FieldPath = (*path, "metrics", index)
        if isinstance(metric, str):
            yield AskedMetric(column.output, protocol, MetricColumn(metric=metric), (*path, "output"), place)
        else:
            yield AskedMetric(column.output, protocol, metric, (*path, "output"), (*place, "metric"))


def _nearest(word: str) -> str:
    hint = nearest(word, FACTS)
    return hint if "did you mean" in hint else f"facts: {', '.join(FACTS)}; a metric of an output: guided.fid"
