"""The lines under a table that say how its numbers were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.facts import Facts, read_facts
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import SamplesFacts
from mimflow.contents.registry import CONTENTS
from mimflow.features.spec import ClassifierExtractorSpec, InceptionExtractorSpec
from mimflow.metrics.spec import MetricSpec
from mimflow.plan.jobs import Job
from mimflow.products.table import wording
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.results import Result
from mimflow.project.protocol import ProtocolSpec
from mimflow.spec.words import settings


def protocol_lines(table: TableProduct, found: Mapping[str, Result]) -> tuple[tuple[str, str], ...]:
    """Term and text: protocol, what is measured, extractor, metrics, seeds, and each output's settings."""
    protocol = table.protocol
    shown = {content.name for content in table.contents.values()}
    contents = [content for name, content in CONTENTS.items() if name in shown]
    facts = _facts(table, found)
    lines = [("Protocol", f"{table.spec.protocol}: {protocol.label}" if protocol.label else table.spec.protocol)]
    for content in contents:
        known = facts.get(content.name)
        lines += content.lines(protocol.samples, protocol.reference, table.dataset_label, known)
    extracting = [content.name for content in contents if content.extracts]
    if extracting:
        known = next((facts[name] for name in extracting if name in facts), None)
        lines.append(("Extractor", extractor_line(protocol, known)))
    fitting = [metric for metric in protocol.metrics if shown & set(metric.measures)]
    lines += [("Metrics", "; ".join(map(_metric, fitting))), ("Seeds", _seeds(table))]
    lines += [(f"Output {name}", _output(table, name)) for name in table.contents]
    not_finite = [f"{table.row_name(row)}: {text}" for row in table.rows if (text := _not_finite(row, table.root))]
    return (*lines, *([("Not finite", "; ".join(not_finite))] if not_finite else []))


def _facts(table: TableProduct, found: Mapping[str, Result]) -> dict[str, EvaluateFacts]:
    """What one evaluation of each content knows of its protocol: the same in all."""
    facts: dict[str, EvaluateFacts] = {}
    for row in table.rows:
        for measurement in row.measured:
            if measurement.evaluate.id in found:
                facts.setdefault(table.contents[measurement.output].name, found[measurement.evaluate.id].facts)
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
    return settings(spec)


def _not_finite(row: PlannedRow, root: Path) -> str:
    """What was left out or drawn anew because it was not finite, over all seeds; nothing where specs ask to stop."""
    texts = []
    for name, phase in row.spec.phases.items():
        trained = [job for jobs in row.trained.values() for job in jobs if job.task.phase_name == name]  # type: ignore[attr-defined]
        if phase.on_nonfinite == "skip" and (found := _found(trained, TrainFacts, root)):
            skipped, steps = sum(facts.skipped for facts in found), sum(facts.steps for facts in found)
            texts.append(f"phase {name}: {skipped:,} skipped of {steps:,} steps")
    for name, output in row.spec.outputs.items():
        drawn = [measured.infer for measured in row.measured if measured.output == name]
        if getattr(output, "on_nonfinite", "stop") == "redraw" and (samples := _found(drawn, SamplesFacts, root)):
            redrawn, count = sum(facts.redrawn for facts in samples), sum(facts.count for facts in samples)
            texts.append(f"output {name}: {redrawn:,} drawn anew of {count:,} samples")
    return ", ".join(texts)


def _found(jobs: Iterable[Job], kind: type[Facts], root: Path) -> list[Facts]:
    """The facts of those jobs that are in the store."""
    return [read_facts(artifact, kind) for job in jobs if (artifact := job.result(root)) is not None]


def _metric(spec: MetricSpec) -> str:
    names = " and ".join(number.label for number in spec.numbers)
    parameters = settings(spec, every=True).removeprefix(spec.kind).removeprefix(", ")
    return f"{names} ({parameters})" if parameters else names


def _seeds(table: TableProduct) -> str:
    seeds = wording.by_row([(table.row_name(row), ", ".join(map(str, row.trained))) for row in table.rows])
    if all(len(row.trained) == 1 for row in table.rows):
        return f"{seeds} (one run each, so no spread is given)"
    return f"{seeds} (mean ± standard deviation, n − 1)"


def _output(table: TableProduct, name: str) -> str:
    return wording.by_row(
        [
            (table.row_name(row), wording.sampling(row.spec.output(name), given=not row.spec.phases))
            for row in table.rows
            if name in row.spec.outputs
        ]
    )
