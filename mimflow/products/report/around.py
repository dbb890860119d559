"""What stands around the products of a report: protocols, what is missing and its cost, where results were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.provenance import describe_process
from mimflow.contents.registry import CONTENTS
from mimflow.plan.estimate import Estimate, Estimator
from mimflow.plan.jobs import Job
from mimflow.plan.listing import seconds_of
from mimflow.plan.product import Product
from mimflow.plan.status import would_run
from mimflow.products.report.product import ReportProduct
from mimflow.products.table.protocol import measured_lines
from mimflow.progress import duration
from mimflow.tasks import EvaluateTask

# -- protocols -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protocol:
    """A protocol that numbers of a report are measured under."""

    name: str
    label: str
    lines: tuple[tuple[str, str], ...]
    """Samples, reference, extractor, metrics: term and text."""


def protocols(report: ReportProduct) -> Iterator[Protocol]:
    """Those that names of evaluations end in, with what was measured of each."""
    workspace = report.plan.workspace
    measured: dict[str, dict[str, Job]] = {}
    for product in report.included:
        for name, job in product.jobs().items():
            protocol = name.rpartition(".")[2]
            if isinstance(job.task, EvaluateTask) and protocol in workspace.protocols:
                by_content = measured.setdefault(protocol, {})
                if not by_content.get(job.task.content, job).done(report.root) or job.task.content not in by_content:
                    by_content[job.task.content] = job
    for name, jobs in sorted(measured.items()):
        spec = workspace.protocols[name].spec
        dataset = workspace.datasets[spec.dataset]
        results = {content: job.result(report.root) for content, job in jobs.items()}
        facts = {content: read_facts(found, EvaluateFacts) for content, found in results.items() if found is not None}
        contents = [content for content in CONTENTS.values() if content.name in jobs]
        lines = measured_lines(spec, contents, dataset.spec.label or dataset.name, facts)
        yield Protocol(name, spec.label, tuple(lines))


# -- missing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Missing:
    """A product of which results are missing."""

    product: Product
    count: int
    """Its own results that are not there."""
    cost: Estimate


def missing(report: ReportProduct) -> tuple[list[Missing], Estimate]:
    """Every product of the project of which results are missing, and what all of them would cost together."""
    root = report.root
    estimator = Estimator(root, report.plan.jobs.values())
    found, jobs = [], dict[str, Job]()
    for product in report.missing:
        needed = {job.id: job for job in would_run(product.jobs().values(), root)}
        jobs |= needed
        count = len({job.id for job in product.jobs().values() if not job.done(root)})
        found.append(Missing(product, count, estimator.of(needed.values())))
    return found, estimator.of(jobs.values())


# -- where results were made ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """Results that were made alike: of one commit, by the same packages, on machines that call themselves the same."""

    count: int
    time: str
    """What they took together."""
    lines: tuple[tuple[str, str], ...]


def made(report: ReportProduct) -> list[Made]:
    """Where the results of a report, and all that they follow from, were made; the most results first."""
    jobs = {each.id: each for job in report.jobs().values() for each in (*job.upstream(), job)}
    groups: dict[tuple[tuple[str, str], ...], list[Artifact]] = {}
    for job in jobs.values():
        artifact = job.result(report.root)
        if artifact is not None:
            groups.setdefault(tuple(_words(artifact.manifest.made)), []).append(artifact)
    found = [
        Made(len(artifacts), duration(sum(seconds_of(each.manifest) for each in artifacts)), lines)
        for lines, artifacts in groups.items()
    ]
    return sorted(found, key=lambda each: -each.count)


def rendered_by(report: ReportProduct) -> tuple[tuple[str, str], ...]:
    """What renders the report itself."""
    return tuple(_words(describe_process(report.root)))


def _words(process: dict[str, object]) -> Iterator[tuple[str, str]]:
    """What is known of a process, as it stands in manifests, in words."""
    git = process.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    clean = isinstance(git, dict) and git.get("clean")
    yield "Commit", f"{commit} ({'clean' if clean else 'with changes'})" if commit else "not known"
    for term, name in (("Machine", "platform"), ("Processor", "processor"), ("Cores", "cores"), ("GPU", "gpu")):
        if process.get(name):
            yield term, str(process[name])
    if process.get("python"):
        yield "Python", str(process["python"])
    packages = process.get("packages")
    if isinstance(packages, dict):
        yield "Packages", ", ".join(f"{name} {version}" for name, version in packages.items())
