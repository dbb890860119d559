"""What a plan would do and why: which jobs are done, which would run, and the field that makes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.manifest import MANIFEST, Manifest, read_manifest
from mimflow.errors import ArtifactError
from mimflow.plan import code, paths
from mimflow.plan.build import Plan
from mimflow.plan.freshness import render_reason
from mimflow.plan.jobs import Job
from mimflow.plan.pins import require_pinned
from mimflow.plan.product import Product
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


def product_statuses(product: Product) -> list[Status]:
    """Every job that a product is made from, in an order in which they can run, and the product itself last.

    A job whose result nobody needs, because what reads it is done, does not run: as Snakemake sees it.
    """
    root = product.root
    reason = render_reason(product)
    lines = job_statuses(product.jobs().values(), root, runs=bool(reason))
    lines.append(Status(product.name, "render", product.files[0], bool(reason), reason))
    return lines


def job_statuses(asked: Iterable[Job], root: Path, runs: bool = True) -> list[Status]:
    """The jobs that are asked for and all that they read from, in an order in which they can run.

    `runs`: whether what is not there is made.
    """
    asked = list(asked)
    needed: set[str] = set()
    for job in asked if runs else ():
        _need(job, root, needed)
    ordered: dict[str, Job] = {}
    for job in asked:
        for upstream in (*job.upstream(), job):
            ordered.setdefault(upstream.id, upstream)
    history = History(root)
    return [status(job, root, job.id in needed, history) for job in ordered.values()]


def _need(job: Job, root: Path, needed: set[str]) -> None:
    if job.id in needed or job.done(root):
        return
    needed.add(job.id)
    for upstream in job.inputs.values():
        _need(upstream, root, needed)


def status(job: Job, root: Path, runs: bool, history: History) -> Status:
    """The line of one job."""
    if runs:
        reason = why_runs(job, history)
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


def why_runs(job: Job, history: History) -> str:
    """The fields in which a job that is not done differs from the last one of its name that is."""
    previous = history.of(job)
    if previous is None:
        return "never run"
    changes = [
        f"{field}: {show(old)} → {show(new)}" for field, old, new in differences(previous.task, job.task.identity())
    ]
    hashed = job.hashed()["inputs"]
    changes += [f"{role} changed" for role in hashed if previous.inputs.get(role) != hashed[role]]
    return "; ".join(changes) or "the stage's version changed"


def describe_plan(plan: Plan, target: str) -> str:
    """The statuses of the jobs of a product, or of a run's training, as text.

    DataError if images of the user's are not those that are pinned.
    """
    if target in plan.workspace.runs and target not in plan.products:
        seeds = plan.workspace.runs[target].spec.seeds
        jobs = [job for seed in seeds for job in plan.trained(target, seed)]
        require_pinned(plan, jobs)
        lines = job_statuses(jobs, plan.root)
    else:
        product = plan.product(target)
        require_pinned(plan, product.jobs().values())
        lines = product_statuses(product)
    width = max(len(line.name) for line in lines)
    shown = [
        f"{line.state:4}  {line.stage:8}  {line.name:{width}}  {line.id}  {line.reason}".rstrip() for line in lines
    ]
    count = sum(line.runs for line in lines)
    return "\n".join([*shown, f"{count} of {len(lines)} would run" if count else "Nothing to be done"])
