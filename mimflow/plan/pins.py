"""Whether the user's images are those that are pinned, before anything runs on them."""

from __future__ import annotations

from collections.abc import Iterable

from mimflow.artifacts.manifest import Artifact
from mimflow.errors import DataError
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.project.pins import folder_problem
from mimflow.tasks import PrepareTask


def pin_problems(plan: Plan, jobs: Iterable[Job]) -> list[str]:
    """A line for each data set that these jobs depend on whose folder is not what is pinned. A plan looks once."""
    preparations = {
        each.id: each for job in jobs for each in (*job.upstream(), job) if isinstance(each.task, PrepareTask)
    }
    return [problem for job in preparations.values() if (problem := _problem(plan, job)) is not None]


def require_pinned(plan: Plan, jobs: Iterable[Job]) -> None:
    """DataError with the lines of `pin_problems`, if there are any."""
    problems = pin_problems(plan, jobs)
    if problems:
        raise DataError("\n".join(problems))


def _problem(plan: Plan, job: Job) -> str | None:
    if job.id not in plan.looked_at:
        root = plan.workspace.root
        prepared = Artifact.open(root / job.folder) if job.done(root) else None
        plan.looked_at[job.id] = folder_problem(plan.workspace, job.name, prepared)
    return plan.looked_at[job.id]
