"""What a plan would do and why: which jobs are done, which would run or do, and the field that makes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.manifest import MANIFEST, Manifest, read_manifest
from mimflow.errors import ArtifactError
from mimflow.plan import code, paths
from mimflow.plan.activity import Activity, activity
from mimflow.plan.freshness import render_reason
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.progress import duration
from mimflow.spec.changes import changes

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
    path: str
    """The file that is there when it is done: what Snakemake can be asked for."""
    activity: Activity | None = None
    """What has been done of it already, or is being done."""

    @property
    def state(self) -> str:
        """`run`, `done`, or — for what is neither there nor needed; `running`, `failed` or `interrupted` if begun."""
        if self.activity is not None and (self.runs or self.activity.holder):
            return self.activity.state
        return "run" if self.runs else "done" if self.reason in ("", CHANGED) else "—"


class History:
    """The finished results of the store by stage and name, the newest last; a stage is read when first asked for."""

    def __init__(self, root: Path):
        self.root = root
        self._stages: dict[str, dict[str, list[Manifest]]] = {}

    def of(self, job: Job) -> Manifest | None:
        """The newest manifest of the job's stage and name with another key."""
        found = self.stage(job.stage).get(job.name, [])
        return next((manifest for manifest in reversed(found) if manifest.key != job.key), None)

    def stage(self, stage: str) -> dict[str, list[Manifest]]:
        """All finished results of a stage by name, the newest last."""
        if stage not in self._stages:
            found = []
            for path in (self.root / paths.STORE / paths.FOLDERS[stage]).glob(f"[!.]*/{MANIFEST}"):
                try:
                    found.append((path.stat().st_mtime, read_manifest(path)))
                except ArtifactError:
                    continue
            by_name: dict[str, list[Manifest]] = {}
            for _, manifest in sorted(found, key=lambda item: (item[0], item[1].key)):
                by_name.setdefault(manifest.name, []).append(manifest)
            self._stages[stage] = by_name
        return self._stages[stage]


def product_statuses(*products: Product) -> list[Status]:
    """Every job that products of one project are made from, in an order in which they can run, and then the products.

    A job whose result nobody needs, because what reads it is done, does not run: as Snakemake sees it.
    """
    reasons = [(product, render_reason(product)) for product in products]
    asked = [job for product in products for job in product.jobs().values()]
    made = [job for product, reason in reasons if reason for job in product.jobs().values()]
    lines = job_statuses(asked, products[0].root, made)
    for product, reason in reasons:
        path = product.files[0]
        lines.append(Status(product.name, "render", path, bool(reason), reason, path))
    return lines


def job_statuses(asked: Iterable[Job], root: Path, made: Iterable[Job] | None = None) -> list[Status]:
    """The jobs that are asked for and all that they read from, in an order in which they can run.

    `made`: those of them that are made if they are not there; not given: all.
    """
    asked = list(asked)
    needed: set[str] = set()
    for job in asked if made is None else made:
        _need(job, root, needed)
    ordered: dict[str, Job] = {}
    for job in asked:
        for upstream in (*job.upstream(), job):
            ordered.setdefault(upstream.id, upstream)
    history = History(root)
    return [status(job, root, job.id in needed, history) for job in ordered.values()]


def would_run(asked: Iterable[Job], root: Path) -> list[Job]:
    """Those of these jobs, and of what they read from, that have to run for all of them to be there."""
    asked, needed = list(asked), set[str]()
    for job in asked:
        _need(job, root, needed)
    found = {each.id: each for job in asked for each in (*job.upstream(), job) if each.id in needed}
    return list(found.values())


def _need(job: Job, root: Path, needed: set[str]) -> None:
    if job.id in needed or job.done(root):
        return
    needed.add(job.id)
    for upstream in job.inputs.values():
        _need(upstream, root, needed)


def status(job: Job, root: Path, runs: bool, history: History) -> Status:
    """The line of one job."""
    found = activity(root, job.id) if not job.done(root) else None
    if runs or (found is not None and found.holder):
        reason = "; ".join(filter(None, (_so_far(found) if found else "", why_runs(job, history))))
    elif not job.done(root):
        reason = "not in the store, and nothing that runs reads it"
    elif code_changed(job, root):
        reason = CHANGED
    else:
        reason = ""
    return Status(job.name, job.stage, job.id, runs, reason, job.manifest, found)


def _so_far(found: Activity) -> str:
    """How far a job that was begun has come, or why it gave up; empty if it has not begun to count."""
    if found.state == "failed":
        return found.failure
    left = found.seconds_left if found.holder else None
    return ", ".join(filter(None, (found.place, found.holder, f"{duration(left)} left" if left is not None else "")))


def code_changed(job: Job, root: Path) -> bool:
    """Whether the source that a finished job ran is another one now."""
    made = read_manifest(root / job.manifest).made
    return made.get("source") != code.digest(job.task)


def why_runs(job: Job, history: History) -> str:
    """The fields in which a job that is not done differs from the last one of its name that is."""
    previous = history.of(job)
    if previous is None:
        return "never run"
    found = list(changes(previous.task, job.task.identity()))
    hashed = job.hashed()["inputs"]
    found += [f"{role} changed" for role in hashed if previous.inputs.get(role) != hashed[role]]
    return "; ".join(found) or "the stage's version changed"
