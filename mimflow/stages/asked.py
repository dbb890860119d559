"""What the command line asks for and no spec does: samples that were made elsewhere, and references for others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact, sha256_of, write_atomically, write_text
from mimflow.artifacts.metrics import EvaluateFacts, MetricValue, read_metrics
from mimflow.artifacts.reference import STATISTICS, ReferenceFacts
from mimflow.compute.spec import Compute
from mimflow.contents.given import digest_of, look
from mimflow.contents.registry import CONTENTS
from mimflow.contents.spec import GivenFile, GivenSamples
from mimflow.errors import PlanError
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.plan.pins import require_pinned
from mimflow.products.table import wording
from mimflow.products.table.protocol import measured_lines
from mimflow.project.protocol import ProtocolSpec
from mimflow.stages.runner import run_job
from mimflow.system.spec import Shapes

MADE_HERE = ("prepare", "reference")
"""The stages that are run where what they make is missing; nothing is trained without being asked for."""


@dataclass(frozen=True)
class Measured:
    """The numbers of samples that were made elsewhere."""

    protocol_name: str
    protocol: ProtocolSpec
    given: GivenSamples
    job: Job
    """What measured them."""
    values: dict[str, MetricValue]
    count: int
    """Samples that were measured."""
    how: dict[str, str]
    """How, in words, by term."""

    def text(self, samples: Path) -> str:
        """Numbers and protocol in lines."""
        return "\n".join(
            [
                f"{samples} under {self.protocol_name}",
                *_numbers(self.protocol, self.values, self.count),
                *_text(self.how),
            ]
        )

    def json(self) -> str:
        """The same for programs."""
        return _json(self.protocol_name, self.given, self.values, self.count, self.how, self.job)


def measure(plan: Plan, samples: Path, protocol_name: str, labels: Path | None, out: Path | None) -> str:
    """The numbers of samples that were made elsewhere, with their protocol, as a text, and as JSON in `out`."""
    measured = measure_given(plan, samples, protocol_name, labels)
    if out is not None:
        write_text(out, measured.json())
    return measured.text(samples)


def measure_given(plan: Plan, samples: Path, protocol_name: str, labels: Path | None) -> Measured:
    """Measure samples that were made elsewhere.

    They are looked at before anything else is done: ArtifactError says what would be right. What they are compared with
    is made first where it is missing; PlanError where a classifier has to be trained for that.
    """
    protocol = _protocol(plan, protocol_name)
    if not any("samples" in metric.measures for metric in protocol.metrics):
        raise PlanError(f"protocol '{protocol_name}' has no metric of samples (name one that has: fid, is, …)")
    shapes = Shapes.of(plan.workspace.datasets[protocol.dataset].spec)
    look(samples, labels, shapes, protocol.samples)
    given = GivenSamples(
        file=str(samples.resolve()),
        sha256=digest_of(samples),
        labels=None if labels is None else GivenFile(file=str(labels.resolve()), sha256=sha256_of(labels)),
    )
    job = plan.measure_given(given, protocol_name, Compute())
    artifact = _made(plan, job)
    values, count = read_metrics(artifact)
    facts = read_facts(artifact, EvaluateFacts)
    how = dict(_lines(plan, protocol_name, given, facts))
    return Measured(protocol_name, protocol, given, job, values, count, how)


def make_reference(
    plan: Plan, protocol_name: str, metric: str | None, split: SplitReferenceSpec | None, out: Path
) -> str:
    """Write the statistics of a reference in the ADM evaluator's form; a line that says what they are of.

    The reference is a metric's, the protocol's, or a split that stands in for it.
    """
    protocol = _protocol(plan, protocol_name)
    reference = split if split is not None else _reference(protocol, protocol_name, metric)
    artifact = _made(plan, plan.reference(protocol_name, reference, False, Compute()))
    write_atomically(out, lambda temporary: shutil.copyfile(artifact.file(STATISTICS), temporary))
    facts = read_facts(artifact, ReferenceFacts)
    images = f"{facts.count:,} images, " if facts.count is not None else ""
    return f"{out}: {images}{reference.words} of {protocol.dataset}, {facts.extractor}, SHA-256 {sha256_of(out)}"


def _protocol(plan: Plan, name: str) -> ProtocolSpec:
    plan.workspace.get("protocol", name)
    if ("protocol", name) in plan.workspace.wrong:
        plan.workspace.raise_problems()
    return plan.workspace.protocols[name].spec


def _reference(protocol: ProtocolSpec, name: str, metric: str | None) -> ReferenceSpec:
    own = {each.kind: each.reference or protocol.reference for each in protocol.metrics}
    if metric is not None and metric not in own:
        raise PlanError(f"protocol '{name}' has no metric '{metric}' (it has: {', '.join(own)})")
    return protocol.reference if metric is None else own[metric]


def _made(plan: Plan, job: Job) -> Artifact:
    """The result of a job, once what it reads is there."""
    require_pinned(plan, [job])
    for upstream in job.upstream():
        if upstream.stage in MADE_HERE and not job.done(plan.root):
            run_job(plan, upstream)
    return run_job(plan, job)


def _lines(plan: Plan, protocol_name: str, given: GivenSamples, facts: EvaluateFacts) -> Iterator[tuple[str, str]]:
    protocol = plan.workspace.protocols[protocol_name].spec
    dataset = plan.workspace.datasets[protocol.dataset]
    yield "Protocol", f"{protocol_name}: {protocol.label}" if protocol.label else protocol_name
    for term, text in measured_lines(
        protocol, [CONTENTS["samples"]], dataset.spec.label or dataset.name, {"samples": facts}
    ):
        yield term, f"{facts.count:,}, made elsewhere, SHA-256 {given.sha256}" if term == "Samples" else text


def _numbers(protocol: ProtocolSpec, values: dict[str, MetricValue], count: int) -> Iterator[str]:
    numbers = protocol.numbers
    labels = {name: wording.heading(numbers[name], numbers[name].label, count) for name in values}
    width = max(map(len, labels.values()))
    for name, found in values.items():
        text = f"no value: {found.reason}"
        if found.value is not None:
            digits = max(numbers[name].digits, 2)
            spread = "" if found.std is None else f" ± {wording.decimals(found.std, digits)}"
            text = f"{wording.decimals(found.value, digits)}{spread} {numbers[name].unit}".rstrip()
        yield f"  {labels[name]:{width}}  {text}"


def _text(lines: dict[str, str]) -> Iterator[str]:
    width = max(map(len, lines))
    yield from (f"  {term:{width}}  {text}" for term, text in lines.items())


def _json(
    protocol_name: str,
    given: GivenSamples,
    values: dict[str, MetricValue],
    count: int,
    lines: dict[str, str],
    job: Job,
) -> str:
    data: dict[str, Any] = {
        "protocol": protocol_name,
        "samples": given.model_dump(mode="json", exclude={"label"}),
        "count": count,
        "metrics": {name: asdict(found) for name, found in values.items()},
        "how": lines,
        "evaluation": job.folder,
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
