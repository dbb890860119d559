"""The lines under a table that say how its numbers were measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimflow.metrics.spec import ClassifierExtractorSpec, InceptionExtractorSpec, MetricSpec
from mimflow.plan.build import PlannedTable
from mimflow.spec.protocol import ProtocolSpec
from mimflow.tables import wording
from mimflow.tables.results import Result

_LABELS = {"balanced": "the same number of each class", "uniform": "classes drawn independently"}
_QUANTISATION = {"round": "rounded to 8 bits", "truncate": "truncated to 8 bits"}


def protocol_lines(table: PlannedTable, found: Mapping[str, Result]) -> tuple[tuple[str, str], ...]:
    """Term and text: protocol, samples, reference, extractor, metrics, seeds, and each sampler's settings."""
    protocol = table.protocol
    facts: Mapping[str, Any] = next(iter(found.values())).facts if found else {}
    lines = [
        ("Protocol", f"{table.spec.protocol}: {protocol.label}" if protocol.label else table.spec.protocol),
        ("Samples", samples_line(protocol)),
        ("Reference", _reference(table, facts)),
        ("Extractor", extractor_line(protocol, facts)),
        ("Metrics", "; ".join(map(_metric, protocol.metrics))),
        ("Seeds", _seeds(table)),
    ]
    for name in dict.fromkeys(column.sampler for column in table.spec.columns if column.kind == "metric"):
        lines.append((f"Sampler {name}", _sampler(table, name)))
    return tuple(lines)


def samples_line(protocol: ProtocolSpec) -> str:
    """How many samples, of which classes, to which bits."""
    samples = protocol.samples
    return f"{samples.count:,} of each seed, {_LABELS[samples.labels]}, {_QUANTISATION[samples.quantisation]}"


def _reference(table: PlannedTable, facts: Mapping[str, Any]) -> str:
    reference = table.protocol.reference
    count = facts.get("reference_count", reference.count)
    images = f"{count:,} images" if count is not None else "all images"
    return f"{images} of the {reference.split} split of {table.dataset_label}"


def extractor_line(protocol: ProtocolSpec, facts: Mapping[str, Any]) -> str:
    """The network, where its weights come from, and how accurate it is where an evaluation knows that."""
    spec = protocol.extractor
    if isinstance(spec, ClassifierExtractorSpec):
        weights = "averaged weights" if spec.weights.ema else "weights of the last step"
        text = f"classifier of run {spec.weights.run}, {weights}"
        accuracy = facts.get("extractor_accuracy")
        return text if accuracy is None else f"{text}, {accuracy:.1%} accurate on the validation split"
    if isinstance(spec, InceptionExtractorSpec):
        text = f"Inception of 2015 (torch-fidelity), SHA-256 {spec.weights.sha256[:12]}…"
        seen = facts.get("extractor_input")
        return text if seen is None else f"{text}, images {seen}"
    return wording.settings(spec)


def _metric(spec: MetricSpec) -> str:
    names = " and ".join(map(wording.metric_label, spec.reports))
    parameters = wording.settings(spec, every=True).removeprefix(spec.kind).removeprefix(", ")
    return f"{names} ({parameters})" if parameters else names


def _seeds(table: PlannedTable) -> str:
    seeds = wording.by_row({row.label: ", ".join(map(str, row.trained)) for row in table.rows})
    if all(len(row.trained) == 1 for row in table.rows):
        return f"{seeds} (one run each, so no spread is given)"
    return f"{seeds} (mean ± standard deviation, n − 1)"


def _sampler(table: PlannedTable, name: str) -> str:
    return wording.by_row(
        {row.label: wording.sampling(row.spec.samplers[name]) for row in table.rows if name in row.spec.samplers}
    )
