"""What the store holds of a table: evaluations, train jobs, and which of its jobs are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import EvaluateFacts, MetricValue, read_metrics
from mimflow.errors import ArtifactError, PlanError
from mimflow.plan import paths
from mimflow.plan.build import Job, PlannedRow, PlannedTable
from mimflow.products.table.wording import listed
from mimflow.tasks import TrainTask


@dataclass(frozen=True)
class Result:
    """What one evaluation found."""

    values: Mapping[str, MetricValue]
    count: int
    facts: EvaluateFacts


def open_done(job: Job, root: Path) -> Artifact | None:
    """The result of a job, or None if it is not in the store. ArtifactError if it is not that job's."""
    if not job.done(root):
        return None
    artifact = Artifact.open(root / job.folder)
    if artifact.manifest.key != job.key:
        raise ArtifactError(
            f"{job.folder}: its manifest has the key {artifact.manifest.key[:12]}… (not made by this job: delete it)"
        )
    return artifact


def read_result(job: Job, root: Path) -> Result | None:
    """What an evaluate job found, its file verified; None if it is not in the store."""
    artifact = open_done(job, root)
    if artifact is None:
        return None
    values, count = read_metrics(artifact)
    return Result(values, count, read_facts(artifact, EvaluateFacts))


def results(table: PlannedTable, root: Path) -> dict[str, Result]:
    """Every evaluation of a table that is in the store, by job id."""
    jobs = [measurement.evaluate for row in table.rows for measurement in row.measured]
    return {job.id: result for job in jobs if (result := read_result(job, root)) is not None}


def require_all(table: PlannedTable, root: Path) -> None:
    """PlanError that names the jobs of a table whose results are not in the store, if there are any."""
    missing = [f"{job.stage} {job.name}" for job in table.jobs() if not job.done(root)]
    if missing:
        raise PlanError(
            f"table '{table.name}': {len(missing)} result{'s are' if len(missing) > 1 else ' is'} not there yet: "
            f"{listed(missing)} (run `snakemake --cores all {paths.table_file(table.name, 'md')}`, "
            "or `mimflow render --partial`)"
        )


def phases(row: PlannedRow, seed: int) -> list[Job]:
    """The train jobs of the row's own run that lead to its weights, in order."""
    last = row.trained[seed]
    found = {job.id: job for job in (*last.upstream(), last) if job.stage == "train" and _run(job) == row.run}
    return list(found.values())


def _run(job: Job) -> str:
    # `run.phase.s0`: neither run nor phase has a dot in its name.
    return job.name.split(".", 1)[0]


def closed_form(job: Job) -> bool:
    """Whether a train job is solved instead of iterated."""
    assert isinstance(job.task, TrainTask)
    return job.task.phase.objective.closed_form
