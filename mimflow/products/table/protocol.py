"""The lines under a table that say how its numbers were measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.facts import Facts, read_facts
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import SamplesFacts
from mimflow.contents.base import Content
from mimflow.contents.registry import CONTENTS
from mimflow.contents.samples import compared_with
from mimflow.features.spec import ClassifierExtractorSpec, EfficientnetLite0ExtractorSpec, InceptionExtractorSpec
from mimflow.metrics.spec import MetricSpec
from mimflow.plan.jobs import Job
from mimflow.products.table import wording
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.results import Result
from mimflow.project.protocol import ProtocolSpec
from mimflow.spec.words import settings


def protocol_lines(table: TableProduct, found: Mapping[str, Result]) -> tuple[tuple[str, str], ...]:
    """Term and text: each protocol, what is measured, extractor, metrics; then seeds, and each output's settings."""
    lines: list[tuple[str, str]] = []
    for name, protocol in table.protocols.items():
        lines.append(("Protocol", f"{name}: {protocol.label}" if protocol.label else name))
        shown = {table.contents[output].name for output in table.spec.outputs_under(name)}
        contents = [content for content in CONTENTS.values() if content.name in shown]
        lines += measured_lines(protocol, contents, table.dataset_label(name), _facts(table, name, found))
    lines += [("Seeds", _seeds(table))] if any(row.trained for row in table.rows) else []
    lines += [(f"Output {name}", text) for name in table.contents if (text := _output(table, name))]
    lines += [(f"Samples of {table.row_name(row)}", text) for row in table.rows if (text := row.origin)]
    not_finite = [f"{table.row_name(row)}: {text}" for row in table.rows if (text := _not_finite(row, table.root))]
    return (*lines, *([("Not finite", "; ".join(not_finite))] if not_finite else []))


def measured_lines(
    protocol: ProtocolSpec, contents: Sequence[Content], dataset: str, facts: Mapping[str, EvaluateFacts]
) -> list[tuple[str, str]]:
    """What is measured under a protocol, against what, through which extractor, by which metrics.

    `facts` are those of one evaluation of each content, as far as there are any.
    """
    lines: list[tuple[str, str]] = []
    for content in contents:
        known = facts.get(content.name)
        of_samples = [metric for metric in protocol.metrics if content.name in metric.measures and metric.compares]
        shared = not of_samples or any(metric.reference is None for metric in of_samples)
        told = content.lines(protocol.samples, protocol.reference, dataset, known)
        lines += [line for line in told if shared or line[0] != "Reference"]
        if content.name == "samples":
            lines += _own_references(of_samples, dataset, known)
    extracting = [content.name for content in contents if content.extracts]
    if extracting:
        known = next((facts[name] for name in extracting if name in facts), None)
        lines.append(("Extractor", extractor_line(protocol, known)))
    shown = {content.name for content in contents}
    fitting = [metric for metric in protocol.metrics if shown & set(metric.measures)]
    return [*lines, ("Metrics", "; ".join(map(_metric, fitting)))]


def _own_references(
    metrics: Sequence[MetricSpec], dataset: str, facts: EvaluateFacts | None
) -> Iterator[tuple[str, str]]:
    """What metrics with a reference of their own compare samples with: a line a reference."""
    counts = {} if facts is None else facts.own_reference_counts
    texts: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.reference is not None:
            text = compared_with(metric.reference, dataset, counts.get(metric.kind))
            texts.setdefault(text, []).append(" and ".join(number.label for number in metric.numbers))
    yield from ((f"Reference of {' and '.join(labels)}", text) for text, labels in texts.items())


def _facts(table: TableProduct, protocol: str, found: Mapping[str, Result]) -> dict[str, EvaluateFacts]:
    """What one evaluation of each content under a protocol knows of it: the same in all."""
    facts: dict[str, EvaluateFacts] = {}
    for row in table.rows:
        for measurement in row.measured:
            if measurement.protocol == protocol and measurement.evaluate.id in found:
                output = row.outputs.get(measurement.output)
                content = "samples" if output is None else output.content
                facts.setdefault(content, found[measurement.evaluate.id].facts)
    return facts


def extractor_line(protocol: ProtocolSpec, facts: EvaluateFacts | None) -> str:
    """The network, where its weights come from, and how accurate it is where an evaluation knows that."""
    spec = protocol.extractor
    if isinstance(spec, ClassifierExtractorSpec):
        weights = "averaged weights" if spec.weights.ema else "weights of the last step"
        text = f"classifier of run {spec.weights.run}, {weights}"
        accuracy = None if facts is None else facts.extractor_accuracy
        return text if accuracy is None else f"{text}, {accuracy:.1%} accurate on the validation split"
    if isinstance(spec, InceptionExtractorSpec):
        digest = f"SHA-256 {spec.weights.sha256[:12]}…" if spec.weights.sha256 else "its digest not written down yet"
        text = f"Inception of 2015 (torch-fidelity), {digest}"
        seen = None if facts is None else facts.extractor_input
        return text if seen is None else f"{text}, images {seen}"
    if isinstance(spec, EfficientnetLite0ExtractorSpec):
        return f"EfficientNet-Lite0 trained on ImageNet-1k, images resized to {spec.input_size} pixels"
    return settings(spec)


def _not_finite(row: PlannedRow, root: Path) -> str:
    """What was left out or drawn anew because it was not finite, over all seeds; nothing where specs ask to stop."""
    texts = []
    for name, phase in (row.spec.phases if row.spec is not None else {}).items():
        trained = [job for jobs in row.trained.values() for job in jobs if job.task.phase_name == name]  # type: ignore[attr-defined]
        if phase.on_nonfinite == "skip" and (found := _found(trained, TrainFacts, root)):
            skipped, steps = sum(facts.skipped for facts in found), sum(facts.steps for facts in found)
            texts.append(f"phase {name}: {skipped:,} skipped of {steps:,} steps")
    for name, output in row.outputs.items():
        # Several protocols may measure one output: it is counted once.
        drawn = {each.infer.id: each.infer for each in row.measured if each.output == name and each.infer is not None}
        if getattr(output, "on_nonfinite", "stop") == "redraw" and (
            samples := _found(drawn.values(), SamplesFacts, root)
        ):
            redrawn, count = sum(facts.redrawn for facts in samples), sum(facts.count for facts in samples)
            texts.append(f"output {name}: {redrawn:,} drawn anew of {count:,} samples")
    return ", ".join(texts)


def _found(jobs: Iterable[Job], kind: type[Facts], root: Path) -> list[Facts]:
    """The facts of those jobs that are in the store."""
    return [read_facts(artifact, kind) for job in jobs if (artifact := job.result(root)) is not None]


def _metric(spec: MetricSpec) -> str:
    names = " and ".join(number.label for number in spec.numbers)
    # What it is compared with stands in lines of its own.
    alone = spec.model_copy(update={"reference": None})
    parameters = settings(alone, every=True).removeprefix(spec.kind).removeprefix(", no reference").removeprefix(", ")
    return f"{names} ({parameters})" if parameters else names


def _seeds(table: TableProduct) -> str:
    rows = [row for row in table.rows if row.trained]
    seeds = wording.by_row([(table.row_name(row), _listed(list(row.trained))) for row in rows])
    if all(len(row.trained) == 1 for row in rows):
        return f"{seeds} (one run each, so no spread is given)"
    return f"{seeds} (mean ± standard deviation, n − 1)"


def _listed(seeds: list[int]) -> str:
    """`0, 1, 2 (n = 3)`."""
    text = ", ".join(map(str, seeds))
    return f"{text} (n = {len(seeds)})" if len(seeds) > 1 else text


def _output(table: TableProduct, name: str) -> str:
    made = [(table.row_name(row), _sampling(row, name)) for row in table.rows if row.spec and row.outputs_of(name)]
    return wording.by_row(made) if made else ""


def _sampling(row: PlannedRow, name: str) -> str:
    """How an output is made; of a sweep how its first point is, and in what the others differ."""
    assert row.spec is not None
    text = wording.sampling(row.spec.output(row.outputs_of(name)[0]), given=not row.spec.phases)
    if name not in row.sweeps:
        return text
    _, *others = row.sweeps[name].points
    return "; also with ".join([text, *(["; ".join(point.label for point in others)] if others else [])])
