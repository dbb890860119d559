"""The lines under a table that say how its numbers were measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimflow.features.spec import ClassifierExtractorSpec, InceptionExtractorSpec
from mimflow.metrics.spec import MetricSpec
from mimflow.outputs.spec import Subject
from mimflow.plan.build import PlannedTable
from mimflow.products.table import wording
from mimflow.products.table.results import Result
from mimflow.project.protocol import ProtocolSpec

_LABELS = {"balanced": "the same number of each class", "uniform": "classes drawn independently"}
_QUANTISATION = {"round": "rounded to 8 bits", "truncate": "truncated to 8 bits"}
REPRESENTATION = "of every image of both splits: probes are trained on train and measured on val"


def protocol_lines(table: PlannedTable, found: Mapping[str, Result]) -> tuple[tuple[str, str], ...]:
    """Term and text: protocol, what is measured, extractor, metrics, seeds, and each output's settings."""
    protocol = table.protocol
    subjects = table.subjects
    facts = _facts(table, found)
    lines = [("Protocol", f"{table.spec.protocol}: {protocol.label}" if protocol.label else table.spec.protocol)]
    if "samples" in subjects.values():
        lines += [("Samples", samples_line(protocol)), ("Reference", _reference(table, facts.get("samples", {})))]
    if "reconstructions" in subjects.values():
        lines.append(("Reconstructions", reconstructions_line(protocol)))
    if "representation" in subjects.values():
        lines.append(("Representation", REPRESENTATION))
    judged = facts.get("samples", facts.get("reconstructions", {}))
    fitting = [metric for metric in protocol.metrics if set(metric.subjects) & set(subjects.values())]
    if set(subjects.values()) - {"representation"}:
        lines.append(("Extractor", extractor_line(protocol, judged)))
    lines += [("Metrics", "; ".join(map(_metric, fitting))), ("Seeds", _seeds(table))]
    return (*lines, *((f"Output {name}", _output(table, name)) for name in subjects))


def _facts(table: PlannedTable, found: Mapping[str, Result]) -> dict[Subject, Mapping[str, Any]]:
    """What one evaluation of each subject knows of its protocol: the same in all."""
    facts: dict[Subject, Mapping[str, Any]] = {}
    for row in table.rows:
        for measurement in row.measured:
            if measurement.evaluate.id in found:
                facts.setdefault(table.subjects[measurement.output], found[measurement.evaluate.id].facts)
    return facts


def subject_line(subject: Subject, protocol: ProtocolSpec) -> str:
    """What is measured, and against what."""
    if subject == "reconstructions":
        return reconstructions_line(protocol)
    if subject == "representation":
        return REPRESENTATION
    return f"{samples_line(protocol)}; {protocol.reference.split} split"


def samples_line(protocol: ProtocolSpec) -> str:
    """How many samples, of which classes, to which bits."""
    samples = protocol.samples
    return f"{samples.count:,} of each seed, {_LABELS[samples.labels]}, {_QUANTISATION[samples.quantisation]}"


def reconstructions_line(protocol: ProtocolSpec) -> str:
    """Of which images, to which bits, against what."""
    bits = _QUANTISATION[protocol.samples.quantisation]
    return f"of every image of the output's split, {bits}, against these same images"


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
        digest = f"SHA-256 {spec.weights.sha256[:12]}…" if spec.weights.sha256 else "its digest not written down yet"
        text = f"Inception of 2015 (torch-fidelity), {digest}"
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


def _output(table: PlannedTable, name: str) -> str:
    return wording.by_row(
        {row.label: wording.sampling(row.spec.outputs[name]) for row in table.rows if name in row.spec.outputs}
    )
