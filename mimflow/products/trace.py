"""From a job back to its origin: how it was made, what it starts from, its data, as lines of text with a depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mimflow.artifacts.checkpoint import AVERAGED, WEIGHTS, TrainFacts
from mimflow.artifacts.data import DataFacts
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact, Manifest
from mimflow.errors import PlanError
from mimflow.plan.build import Measurement
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.plan.status import CHANGED, code_changed
from mimflow.spec.weights import FileWeights, RunWeights
from mimflow.spec.words import settings
from mimflow.tasks import TrainTask

Line = tuple[int, str]
"""Depth and text."""


def text_of(lines: Iterator[Line]) -> str:
    """Lines as an indented text."""
    return "\n".join("  " * depth + text for depth, text in lines)


def why(product: Product, row: str | None, column: str | None) -> str:
    """What a product, or the number at a row and a column of it, was made from, as an indented text.

    PlanError for one of the two without the other, or for a product that has none.
    """
    if row is None and column is None:
        return text_of(product_lines(product))
    if row is None or column is None:
        raise PlanError("--row and --column: give both, or neither")
    text = product.why(row, column)
    if text is None:
        raise PlanError(f"{product.kind.name} '{product.name}' has no rows and columns (leave both out)")
    return text


def product_lines(product: Product) -> Iterator[Line]:
    """Every job that a product is rendered from, under the product's own names."""
    yield 0, f"{product.kind.name} {product.name}"
    for name, job in product.jobs().items():
        if job.stage == "train":
            yield from training_lines(job, product.root, 1)
        else:
            yield from job_lines(name, job, product.root, 1)


def training_lines(job: Job, root: Path, depth: int, weights: str | None = None) -> Iterator[Line]:
    """A train job, the job that it starts from, and its data."""
    yield from job_lines("checkpoint", job, root, depth)
    artifact = job.result(root)
    for name in [weights] if weights else [WEIGHTS, AVERAGED]:
        if artifact is not None and name in artifact.manifest.files:
            yield depth + 1, f"{name}, SHA-256 {artifact.manifest.files[name].sha256}"
    task = job.task
    assert isinstance(task, TrainTask)
    yield depth + 1, f"phase {task.phase_name}, seed {task.seed}: {'; '.join(_phase(job, artifact))}"
    for module in task.system.modules:
        yield depth + 1, f"{module}: {settings(getattr(task.system, module))}"
    for role, upstream in job.inputs.items():
        if role == "data":
            yield from _data(upstream, root, depth + 1)
        elif upstream.stage in ("features", "latents"):
            yield from job_lines(upstream.stage, upstream, root, depth + 1)
        else:
            yield from training_lines(upstream, root, depth + 1)


def measurement_lines(measurement: Measurement, root: Path, depth: int) -> Iterator[Line]:
    """The jobs behind a measurement: its evaluation, the output, and what trained the weights."""
    yield from job_lines("evaluation", measurement.evaluate, root, depth)
    if measurement.infer is not None:
        yield from job_lines("output", measurement.infer, root, depth)
        for role, job in measurement.infer.inputs.items():
            if role.startswith("weights"):
                yield from training_lines(job, root, depth)


def given_lines(weights: list[RunWeights | FileWeights] | None) -> Iterator[str]:
    """A line for each file that a run without training is given."""
    for each in weights or []:
        if isinstance(each, FileWeights):
            yield f"given       {each.file}, SHA-256 {each.sha256 or 'not written down yet'}"


def _data(job: Job, root: Path, depth: int) -> Iterator[Line]:
    yield from job_lines("data", job, root, depth)
    artifact = job.result(root)
    if artifact is not None and (skipped := read_facts(artifact, DataFacts).skipped):
        yield depth + 1, f"images that could not be read: {skipped}"


def _phase(job: Job, artifact: Artifact | None) -> list[str]:
    assert isinstance(job.task, TrainTask)
    phase = job.task.phase
    parts = [settings(phase.objective)]
    if phase.objective.closed_form:
        return [*parts, "in closed form"]
    if artifact is not None:
        facts = read_facts(artifact, TrainFacts)
        parts.append(f"{facts.steps:,} steps, {round(facts.epochs, 2):g} epochs")
    parts.append(f"batch {phase.batch_size}")
    if phase.optimizer is not None:
        parts.append(settings(phase.optimizer))
    return parts


def job_lines(what: str, job: Job, root: Path, depth: int) -> Iterator[Line]:
    """A job's folder, and how it was made where it is in the store."""
    artifact = job.result(root)
    yield depth, f"{what:<11} {job.folder}  {job.name}"
    if artifact is None:
        yield depth + 1, "not in the store"
        return
    yield depth + 1, _made(artifact.manifest)
    if "source" in artifact.manifest.made and code_changed(job, root):
        yield depth + 1, CHANGED


def _made(manifest: Manifest) -> str:
    git = manifest.made.get("git", {})
    commit = git.get("commit")
    clean = "clean" if git.get("clean") else "with changes"
    packages = manifest.made.get("packages", {})
    parts = [f"commit {commit[:12]} ({clean})" if commit else "no commit known"]
    parts += [f"{name} {packages[name]}" for name in ("mimflow", "torch", "torch-fidelity") if name in packages]
    if manifest.made.get("gpu"):
        parts.append(manifest.made["gpu"])
    return ", ".join(parts)
