"""The logs of the trainings behind a product, at paths that stay, where `dvc plots` finds and compares them."""

from __future__ import annotations

from pathlib import Path

from mimflow.artifacts.log import LOG
from mimflow.artifacts.manifest import Manifest
from mimflow.plan import paths
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.tasks import TrainTask


def logged(product: Product) -> dict[str, Job]:
    """The trainings of a product that have a log to draw, by its own names of them, `tarflow.s0`: those with steps."""
    return {
        name: job
        for name, job in product.jobs().items()
        if isinstance(job.task, TrainTask) and not job.task.phase.objective.closed_form
    }


def log_files(product: Product, last: Manifest | None) -> dict[str, bytes]:
    """The logs of those trainings, by path; none of a run's page, which draws its own.

    Of one whose result is not in the store, what the last render wrote of the same training stays.
    """
    if "/" in product.name:
        return {}
    found = {paths.log_file(product.name, name): (name, job) for name, job in logged(product).items()}
    texts = {file: _text(product.root, file, name, job, last) for file, (name, job) in found.items()}
    return {file: text for file, text in texts.items() if text is not None}


def _text(root: Path, file: str, name: str, job: Job, last: Manifest | None) -> bytes | None:
    artifact = job.result(root)
    if artifact is not None:
        return artifact.file(LOG).read_bytes() if LOG in artifact.manifest.files else None
    same = last is not None and file in last.files and last.task["jobs"].get(name) == job.key
    return (root / file).read_bytes() if same and (root / file).is_file() else None
