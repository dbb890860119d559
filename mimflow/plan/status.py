"""What a plan would do and why: which jobs are done, which would run, and the field that makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.manifest import MANIFEST, Manifest, read_manifest
from mimflow.errors import ArtifactError
from mimflow.plan import code, paths
from mimflow.plan.build import Job, Plan, PlannedTable
from mimflow.plan.freshness import table_reason
from mimflow.spec.differences import differences, show

CHANGED = "code changed since"


@dataclass(frozen=True)
class Status:
    """One line of a plan."""

    name: str
    stage: str
    id: str
    runs: bool
    reason: str
    """Why it runs; or what is worth saying of a job that does not."""

    @property
    def state(self) -> str:
        """`run`, `done`, or — for what is neither there nor needed."""
        return "run" if self.runs else "done" if self.reason in ("", CHANGED) else "—"


def table_statuses(plan: Plan, table: PlannedTable) -> list[Status]:
    """Every job that a table is made from, in an order in which they can run, and the table itself last.

    A job whose result nobody needs, because what reads it is done, does not run: as Snakemake sees it.
    """
    root = plan.workspace.root
    reason = table_reason(plan, table)
    needed: set[str] = set()
    if reason:
        for job in table.jobs():
            _need(job, root, needed)
    ordered: dict[str, Job] = {}
    for job in table.jobs():
        for upstream in (*job.upstream(), job):
            ordered.setdefault(upstream.id, upstream)
    lines = [status(job, root, job.id in needed) for job in ordered.values()]
    lines.append(Status(table.name, "render", paths.table_file(table.name, "md"), bool(reason), reason))
    return lines


def _need(job: Job, root: Path, needed: set[str]) -> None:
    if job.id in needed or job.done(root):
        return
    needed.add(job.id)
    for upstream in job.inputs.values():
        _need(upstream, root, needed)


def status(job: Job, root: Path, runs: bool) -> Status:
    """The line of one job."""
    if runs:
        reason = why_runs(job, root)
    elif not job.done(root):
        reason = "not in the store, and nothing that runs reads it"
    elif code_changed(job, root):
        reason = CHANGED
    else:
        reason = ""
    return Status(job.name, job.stage, job.id, runs, reason)


def code_changed(job: Job, root: Path) -> bool:
    """Whether the source that a finished job ran is another one now."""
    made = read_manifest(root / job.manifest).made
    return made.get("source") != code.digest(job.task)


def why_runs(job: Job, root: Path) -> str:
    """The fields in which a job that is not done differs from the last one of its name that is."""
    previous = latest(job, root)
    if previous is None:
        return "never run"
    changes = [
        f"{field}: {show(old)} → {show(new)}" for field, old, new in differences(previous.task, job.task.identity())
    ]
    hashed = job.hashed()["inputs"]
    changes += [f"{role} changed" for role in hashed if previous.inputs.get(role) != hashed[role]]
    return "; ".join(changes) or "the stage's version changed"


def latest(job: Job, root: Path) -> Manifest | None:
    """The newest manifest of a job with the same stage and name and another key."""
    found = []
    folder = root / paths.STORE / paths.FOLDERS[job.stage]
    for candidate in folder.glob(f"{job.name}-*/{MANIFEST}"):
        try:
            manifest = read_manifest(candidate)
        except ArtifactError:
            continue
        if manifest.name == job.name and manifest.key != job.key:
            found.append((candidate.stat().st_mtime, manifest.key, manifest))
    return max(found, key=lambda item: item[:2])[2] if found else None


def table_named(plan: Plan, target: str) -> PlannedTable:
    """The table that a name or one of its files means."""
    return plan.table(Path(target).stem if "/" in target or target.endswith(".md") else target)


def describe_plan(plan: Plan, target: str) -> str:
    """The statuses of a table's jobs as text."""
    lines = table_statuses(plan, table_named(plan, target))
    width = max(len(line.name) for line in lines)
    shown = [f"{line.state:4}  {line.stage:8}  {line.name:{width}}  {line.reason}".rstrip() for line in lines]
    count = sum(line.runs for line in lines)
    return "\n".join([*shown, f"{count} of {len(lines)} would run" if count else "Nothing to be done"])
