"""What the store holds of a table: evaluations, train jobs, and which of its jobs are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.metrics import EvaluateFacts, MetricValue, read_metrics
from mimflow.plan.jobs import Job
from mimflow.products.table.product import TableProduct


@dataclass(frozen=True)
class Result:
    """What one evaluation found."""

    values: Mapping[str, MetricValue]
    count: int
    facts: EvaluateFacts


def read_result(job: Job, root: Path) -> Result | None:
    """What an evaluate job found, its file verified; None if it is not in the store."""
    artifact = job.result(root)
    if artifact is None:
        return None
    values, count = read_metrics(artifact)
    return Result(values, count, read_facts(artifact, EvaluateFacts))


def results(table: TableProduct, root: Path) -> dict[str, Result]:
    """Every evaluation of a table that is in the store, by job id."""
    picking = [measurement for row in table.rows for some in row.picked_by.values() for measurement in some]
    jobs = [measurement.evaluate for row in table.rows for measurement in row.measured]
    jobs += [measurement.evaluate for measurement in picking]
    return {job.id: result for job in jobs if (result := read_result(job, root)) is not None}
