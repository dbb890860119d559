"""Results that only certain runs reach: what can go with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mimflow.errors import PlanError
from mimflow.plan import paths, units
from mimflow.plan.build import Plan
from mimflow.plan.collect_garbage import delete, size_of
from mimflow.plan.jobs import Job
from mimflow.plan.links import update_links
from mimflow.plan.target import run_jobs
from mimflow.spec.compose import nearest


def remove_runs(plan: Plan, names: Sequence[str], really: bool) -> str:
    """List, and where asked delete, the results, attempts, tasks and logs of jobs that only these runs reach.

    What another run, product row or protocol reads stays, and so do prepared data and specs. What a process is at
    work on is not deleted. PlanError for a run that there is not; SpecError if any spec is wrong.
    """
    plan.workspace.raise_problems()  # what else reaches the results is not known
    for name in names:
        if name not in plan.workspace.runs:
            hint = nearest(name, plan.workspace.runs)
            raise PlanError(f"no run named '{name}'" + (f" ({hint})" if hint else ""))
    plan.plan_everything()
    lost = _only_theirs(plan, names)
    found = [path for job in lost for path in _of_job(plan.root, job)]
    sizes = [size_of(path) for path in found]
    by_path = {path: job for job in lost for path in _of_job(plan.root, job)}
    lines = [
        f"{path.relative_to(plan.root).as_posix()}  {by_path[path].name}  {units.size(size)}"
        for path, size in zip(found, sizes, strict=True)
    ]
    kept = [line for path, line in zip(found, lines, strict=True) if not delete(plan.root, path)] if really else []
    if really:
        update_links(plan)
    what = "deleted" if really else "--delete deletes them"
    if kept:
        what = f"deleted but {len(kept)} that a process is at work on: {', '.join(kept)}"
    if not found:
        return f"nothing that only {', '.join(names)} reaches"
    return "\n".join([*lines, *_users(plan, lost), f"{len(found)} folders and files, {units.size(sum(sizes))}: {what}"])


def _only_theirs(plan: Plan, names: Sequence[str]) -> list[Job]:
    """The jobs that these runs ask for, in order, and that nothing else asks for or reads from."""
    theirs = {job.id: job for name in names for asked in run_jobs(plan, name) for job in (*asked.upstream(), asked)}
    # Names of jobs of runs begin with the run's; prepared data are every data set's own, and features go with what
    # reads them.
    others = (
        job
        for (stage, name), job in plan.names.items()
        if stage == "prepare" or (stage != "features" and name.partition(".")[0] not in names)
    )
    kept = {job.id for other in others for job in (*other.upstream(), other)}
    return [job for job in theirs.values() if job.id not in kept]


def _of_job(root: Path, job: Job) -> Iterator[Path]:
    """What lies there of a job."""
    places = (root / job.folder, paths.work(root, job.id), paths.task(root, job.id), paths.log(root, job.id))
    return (path for path in places if path.exists() or path.is_symlink())


def _users(plan: Plan, lost: Iterable[Job]) -> Iterator[str]:
    """A line for every product that would be made from these results again."""
    ids = {job.id for job in lost}
    for product in plan.products.values():
        if any(job.id in ids for job in product.jobs().values()):
            yield f"{product.kind.name} {product.name} shows them: making it again would compute them again"
