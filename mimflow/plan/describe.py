"""A plan as text: a line a job, and what it comes to."""

from __future__ import annotations

from mimflow.plan.build import Plan
from mimflow.plan.estimate import estimate
from mimflow.plan.pins import require_pinned
from mimflow.plan.status import Status, job_statuses, product_statuses
from mimflow.plan.target import Target, find_target


def describe_plan(plan: Plan, word: str, with_paths: bool = False) -> str:
    """The statuses of the jobs of what a name or a path means, with their ids or paths.

    DataError if images of the user's are not those that are pinned.
    """
    target = find_target(plan, word)
    require_pinned(plan, target.jobs)
    lines = _statuses(plan, target)
    states = max(4, *(len(line.state) for line in lines))
    stages = max(8, *(len(line.stage) for line in lines))
    names = max(len(line.name) for line in lines)
    places = max(len(line.path) for line in lines) if with_paths else 0
    shown = [
        f"{line.state:{states}}  {line.stage:{stages}}  {line.name:{names}}  "
        f"{line.path if with_paths else line.id:{places}}  {line.reason}".rstrip()
        for line in lines
    ]
    count = sum(line.runs for line in lines)
    if not count:
        return "\n".join([*shown, "Nothing to be done"])
    jobs = [plan.jobs[line.id] for line in lines if line.runs and line.id in plan.jobs]
    cost = f": {estimate(plan.root, jobs, plan.jobs.values()).words}" if jobs else ""
    return "\n".join([*shown, f"{count} of {len(lines)} would run{cost}"])


def _statuses(plan: Plan, target: Target) -> list[Status]:
    return product_statuses(*target.products) if target.products else job_statuses(target.jobs, plan.root)
