"""The logs of the trainings behind a product, at paths that stay, where `dvc plots` finds and compares them."""

from __future__ import annotations

from mimflow.artifacts.log import LOG
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


def log_files(product: Product) -> dict[str, bytes]:
    """The logs of those that are in the store, by path; none of a run's page, which draws its own."""
    if "/" in product.name:
        return {}
    found = {name: job.result(product.root) for name, job in logged(product).items()}
    return {
        paths.log_file(product.name, name): artifact.file(LOG).read_bytes()
        for name, artifact in found.items()
        if artifact is not None and LOG in artifact.manifest.files
    }
