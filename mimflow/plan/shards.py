"""Into how many shards jobs are cut: jobs of their own that draw the pieces which the job itself then puts together.

How many there are is a matter of how many devices there are, and of no key: pieces are cut by the task alone, and what
is random about an image follows from its number.
"""

from __future__ import annotations

from typing import Any

from mimflow.artifacts.shard import Shard
from mimflow.errors import PlanError
from mimflow.outputs.drawing import Samples
from mimflow.plan import code, paths
from mimflow.plan.jobs import Job
from mimflow.tasks import InferTask

MOST = 100_000


def shard_count(given: Any) -> int:
    """A number of shards as `--config` or a profile gives it. PlanError for what is none."""
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST:
        raise PlanError(f"config.shards: got {given!r}, wanted a number of jobs (--config shards=8)")
    return given


def shards(job: Job, wanted: int) -> list[Shard]:
    """The shards of a job: no more than it has pieces, as far as its task tells; none where one job does it all.

    They follow from the task alone, so that every process of a workflow cuts alike.
    """
    if job.stage not in paths.SHARDED:
        return []
    count = wanted
    if isinstance(job.task, InferTask) and isinstance(job.task.samples, Samples):
        count = min(wanted, -(-job.task.samples.count // job.task.samples.batch_size))
    return [Shard(place, count) for place in range(1, count + 1)] if count > 1 else []


def markers(job: Job, wanted: int) -> list[str]:
    """The files, relative to the project, that are there once the shards of a job are done by the code of now."""
    cut = shards(job, wanted)
    if not cut:  # the code of now takes longer to tell
        return []
    attempt = code.attempt(code.makers(job.task))
    return [paths.shard(job.stage, job.id, attempt, shard) for shard in cut]
