"""What a job needs of a machine: cores and memory, from its task. Profiles may say otherwise (`set-resources`)."""

from __future__ import annotations

from mimflow.plan.jobs import Job
from mimflow.tasks import PrepareTask

LEAST_MEMORY_MB = 4096
"""Of any job: Python with its packages, and what is written at once."""
NETWORK_MEMORY_MB = 16384
"""Of a job that runs a network: weights pass through the machine's memory, and so do images and features."""
WORKER_MEMORY_MB = 512
"""Of a process that prepares images: a piece of rows, and a large photograph decoded."""


def needed_threads(job: Job) -> int:
    """CPU threads that a job computes with, or the processes that prepare images side by side."""
    if isinstance(job.task, PrepareTask):
        return job.task.dataset.workers or 1
    return int(job.compute.threads)


def needed_memory_mb(job: Job) -> int:
    """Memory of the machine, in MB: generous, since a cluster kills a job that takes more."""
    if isinstance(job.task, PrepareTask):
        return LEAST_MEMORY_MB + WORKER_MEMORY_MB * needed_threads(job)
    return NETWORK_MEMORY_MB
