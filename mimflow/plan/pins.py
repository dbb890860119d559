"""Whether the user's images are those that are pinned, before anything runs on them."""

from __future__ import annotations

from collections.abc import Iterable

from mimflow.errors import DataError
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.project.pins import folder_problem
from mimflow.tasks import PrepareTask


def pin_problems(plan: Plan, jobs: Iterable[Job]) -> list[str]:
    """A line for each data set that these jobs depend on whose folder is not what is pinned. A plan looks once."""
    names: dict[str, None] = {}
    for job in jobs:
        for each in (*job.upstream(), job):
            if isinstance(each.task, PrepareTask):
                names.setdefault(each.name)
    return [problem for name in names if (problem := _problem(plan, name)) is not None]


def require_pinned(plan: Plan, jobs: Iterable[Job]) -> None:
    """DataError with the lines of `pin_problems`, if there are any."""
    problems = pin_problems(plan, jobs)
    if problems:
        raise DataError("\n".join(problems))


def _problem(plan: Plan, dataset: str) -> str | None:
    if dataset not in plan.looked_at:
        plan.looked_at[dataset] = folder_problem(plan.workspace, dataset)
    return plan.looked_at[dataset]
