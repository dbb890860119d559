"""Makes a product's numbers again, from what it recorded, in a scratch folder, and compares them one by one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import Manifest, read_manifest, sha256_of
from mimflow.artifacts.metrics import METRICS, MetricValue, read_metrics
from mimflow.artifacts.provenance import git_state
from mimflow.errors import MimflowError, PlanError
from mimflow.plan import code, paths
from mimflow.plan.build import Plan
from mimflow.plan.handover import HandedOver, hand_over
from mimflow.plan.jobs import Job
from mimflow.plan.recorded import RecordedJobs, manifest_of
from mimflow.products.agreement import (
    Change,
    Number,
    changes_of_machine,
    computes_alike,
    number_table,
    numbers,
)
from mimflow.products.table.product import TableProduct
from mimflow.progress import report
from mimflow.spec.compose import nearest
from mimflow.tasks import EvaluateTask

TOLERANCE = 0.02
"""The share of a recorded number that another processor, or other packages, may move it by."""
OWN = ("results", ".mimflow", ".snakemake", ".git", ".dvc")
"""What a scratch folder does not share with the project."""


class DifferentError(MimflowError):
    """Numbers that were made again are not the recorded ones."""

    exit_code = 10


@dataclass(frozen=True)
class Reproduced:
    """What a product's numbers came to when they were made again."""

    product: str
    numbers: Sequence[Number]
    machine: Sequence[Change]
    """In what machine and packages differ from those that made the recorded numbers."""
    code: Sequence[str]
    """What is to be said of the code, a line each."""
    tolerance: float
    """What is allowed: 0 where equal bits can be asked for."""

    @property
    def different(self) -> int:
        """Numbers that do not agree."""
        return sum(number.verdict(self.tolerance) == "different" for number in self.numbers)

    @property
    def text(self) -> str:
        """The table of numbers, and below it what made them."""
        asked = f"within {self.tolerance:.2g} of the recorded" if self.tolerance else "equal to the last bit"
        lines = [f"  {name}: {old} → {new}" for name, old, new in self.machine]
        return "\n".join(
            [
                number_table(self.numbers, self.tolerance),
                "",
                *(["made by, then → now:", *lines] if lines else ["the same processor and packages made both"]),
                *self.code,
                f"{len(self.numbers) - self.different} of {len(self.numbers)} numbers agree ({asked} is asked for)",
            ]
        )


def reproduce(
    plan: Plan, target: str, rows: Sequence[str] = (), tolerance: float | None = None, keep: Path | None = None
) -> Reproduced:
    """Make the numbers of a product, or of some of its rows (runs), again and compare them with the recorded ones.

    What is made stays in the folder `keep`, where a second call goes on; without one it goes when all is done. Raises
    PlanError where the record is not enough, ArtifactError for corrupt results, and an error of the job's exit code
    where one fails.
    """
    name = paths.product_name(target)
    record = _record(plan.root, name)
    known = RecordedJobs(plan)
    read = {label: known.job(record.task["jobs"][label]) for label in _chosen(plan, record, rows)}
    evaluations = {label: job for label, job in read.items() if isinstance(job.task, EvaluateTask)}
    if not evaluations:
        raise PlanError(f"'{name}' shows no numbers that were measured: there is nothing to compare")
    before = {label: _recorded(plan.root, job, record, label) for label, job in evaluations.items()}
    jobs = {each.id: each for job in evaluations.values() for each in (*job.upstream(), job)}
    with _scratch(plan.root, keep) as folder:
        for place, job in enumerate(jobs.values(), 1):
            report(f"{place} of {len(jobs)}: {job.stage} {job.name}", sys.stderr)
            _run(_found(job, plan.root), folder)
        after = {label: _values(job, folder) for label, job in evaluations.items()}
        made = {job.id: read_manifest(folder / job.manifest).made for job in jobs.values()}
    then = {job.id: manifest for job in jobs.values() if (manifest := manifest_of(plan.root, job.key)) is not None}
    machine = changes_of_machine((manifest.made for manifest in then.values()), (made[id] for id in then))
    if tolerance is None:
        tolerance = 0.0 if computes_alike(machine) else TOLERANCE
    found = [number for label in evaluations for number in numbers(label, before[label], after[label])]
    return Reproduced(name, found, machine, list(_code(plan.root, jobs, then)), tolerance)


def _record(root: Path, name: str) -> Manifest:
    """The record of a product that is as it was rendered. PlanError if it was never rendered, or edited since."""
    path = root / paths.product_record(name)
    if not path.is_file():
        raise PlanError(f"{paths.product_record(name)}: missing: '{name}' was never rendered here")
    record = read_manifest(path)
    edited = [
        file
        for file, kept in record.files.items()
        if not (root / file).is_file() or sha256_of(root / file) != kept.sha256
    ]
    if edited:
        raise PlanError(f"{edited[0]}: not as it was rendered (`mimflow render {name}`, or `git checkout {edited[0]}`)")
    return record


def _chosen(plan: Plan, record: Manifest, rows: Sequence[str]) -> list[str]:
    """The evaluations of a record that are meant, by its own names of them, `tarflow.s0.guided.mnist5k-2k`."""
    today = plan.products.get(record.name)
    labels = {row.label: row.run for row in today.rows} if isinstance(today, TableProduct) else {}
    labels |= {row.get("label"): row.get("run") for row in record.task["spec"].get("rows", []) if row.get("label")}
    runs = [labels.get(row) or row for row in rows]
    there = list(dict.fromkeys(label.partition(".")[0] for label in record.inputs))
    for row, run in zip(rows, runs, strict=True):
        if run not in there:
            raise PlanError(
                f"'{record.name}' has no row '{row}' ({nearest(run, there) or 'rows: ' + ', '.join(there)})"
            )
    return [label for label in record.inputs if not runs or label.partition(".")[0] in runs]


def _recorded(root: Path, job: Job, record: Manifest, label: str) -> dict[str, MetricValue]:
    """The recorded numbers of an evaluation. PlanError if they are not here, or not what the product was made from."""
    found = job.result(root)
    if found is None:
        raise PlanError(
            f"{label}: its numbers are not in the store (`dvc pull {paths.STORE}/{paths.FOLDERS[job.stage]}`)"
        )
    if found.manifest.files[METRICS].sha256 != record.inputs[label]:
        raise PlanError(
            f"{label}: the store has other numbers than {record.name} shows (`mimflow render {record.name}`)"
        )
    return read_metrics(found)[0]


@contextmanager
def _scratch(root: Path, keep: Path | None) -> Iterator[Path]:
    """A folder that is the project but for its results: links to everything else, as specs say paths from there."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mimflow-") as folder:
            yield _linked(root, Path(folder).resolve())
        return
    if keep.is_dir() and any(keep.iterdir()) and not (keep / paths.STORE).is_dir():
        raise PlanError(f"{keep}: holds other things (--keep: a new folder, an empty one, or that of an earlier call)")
    keep.mkdir(parents=True, exist_ok=True)
    yield _linked(root, keep.resolve())


def _linked(root: Path, folder: Path) -> Path:
    (folder / paths.STORE).mkdir(parents=True, exist_ok=True)
    for path in root.resolve().iterdir():
        link = folder / path.name
        if path.name not in OWN and not folder.is_relative_to(path) and not link.is_symlink():
            link.symlink_to(path)
    return folder


def _found(job: Job, root: Path) -> Job:
    """A job that finds what lies beside the project from anywhere: paths that lead out of it are whole ones."""

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: whole(item) for name, item in value.items()}
        if isinstance(value, list):
            return [whole(item) for item in value]
        leads_out = isinstance(value, str) and value.startswith("../")
        return str((root / value).resolve()) if leads_out else value

    told = job.task.model_dump_json()
    task = type(job.task).model_validate_json(json.dumps(whole(json.loads(told))))
    return replace(job, task=task)


def _run(job: Job, folder: Path) -> None:
    """Run a job in a process of its own, as Snakemake would: nothing of another is left in it."""
    hand_over(HandedOver(folder, job, {(job.stage, job.name): job}), job)
    words = [sys.executable, "-m", "mimflow", job.stage, job.id, "--planned", "--project", str(folder)]
    if (status := subprocess.run(words, stdin=subprocess.DEVNULL).returncode) != 0:
        error = MimflowError(f"{job.stage} {job.name}: can't be made again here, it ended with {status}")
        error.exit_code = status if status > 0 else 128 - status
        raise error


def _values(job: Job, folder: Path) -> dict[str, MetricValue]:
    found = job.result(folder)
    assert found is not None, "its process ended well"
    return read_metrics(found)[0]


def _code(root: Path, jobs: Mapping[str, Job], then: Mapping[str, Manifest]) -> Iterator[str]:
    """Which code made the recorded numbers, whether it is the one that is here, and how to get at it if it is not."""
    other = {jobs[id].stage: None for id, made in then.items() if made.made.get("source") != code.digest(jobs[id].task)}
    commits = sorted({(git.get("commit") or "", bool(git.get("clean"))) for git in _git(then.values())})
    for commit, clean in commits:
        yield f"recorded at {_commit(commit, clean)}"
    now = git_state(root)
    yield f"this is {_commit(now['commit'] or '', bool(now['clean']))}"
    if not other:
        yield "the code of every stage is the recorded one"
        return
    yield f"other code since: {', '.join(other)}"
    commit = next((commit for commit, _ in commits if commit and commit != now["commit"]), None)
    if commit is not None:
        at = f"../at-{commit[:12]}"
        yield f"its code: git worktree add --detach {at} {commit[:12]} && PYTHONPATH={at} mimflow reproduce …"


def _git(manifests: Iterable[Manifest]) -> Iterator[Mapping[str, Any]]:
    return (manifest.made.get("git", {}) for manifest in manifests)


def _commit(commit: str, clean: bool) -> str:
    return f"commit {commit[:12]} ({'clean' if clean else 'with changes'})" if commit else "no commit that is known"
