"""A job's task as the process that planned it hands it over, so that the job's own process reads no specs.

What lies below `specs` while a workflow runs, half-written or of somebody else, is nothing to its jobs: they do what
was planned. The key is the check: a file that does not describe the job that it is named after is as good as none.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mimflow.artifacts.manifest import write_text
from mimflow.errors import StorageError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.tasks import TASKS


@dataclass(frozen=True)
class HandedOver:
    """What a job's own process needs of the plan: the job, and all the names that specs have for it."""

    root: Path
    job: Job
    names: dict[tuple[str, str], Job]
    """By stage and name, as in a plan."""

    def names_of(self, job: Job) -> list[str]:
        """Every name that the specs have for a job."""
        return [name for (stage, name), named in self.names.items() if stage == job.stage and named.id == job.id]


def hand_over(plan: Plan | HandedOver, job: Job) -> None:
    """Write down a job with all that it reads from. Where that can't be written, its process plans for itself."""
    text = json.dumps({"names": plan.names_of(job), "job": _plain(job)}, ensure_ascii=False)
    path = paths.task(plan.root, job.id)
    with suppress(StorageError, OSError):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def handed_over(root: Path, job: str) -> HandedOver | None:
    """The job of that id as it was handed over; None if it was not, or if what lies there is not this job."""
    try:
        data = json.loads(paths.task(root, job).read_text(encoding="utf-8"))
        found = _job(data["job"])
        names = {(found.stage, str(name)): found for name in data["names"]}
    except (OSError, ValueError, ValidationError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return HandedOver(root, found, names) if found.id == job else None


def _plain(job: Job) -> dict[str, Any]:
    return {
        "stage": job.stage,
        "name": job.name,
        "task": job.task.model_dump(mode="json"),
        "inputs": {role: _plain(upstream) for role, upstream in job.inputs.items()},
    }


def _job(data: dict[str, Any]) -> Job:
    # From JSON, because only there a list may strictly be a tuple.
    task = TASKS[data["stage"]].model_validate_json(json.dumps(data["task"]))
    return Job(task, {role: _job(upstream) for role, upstream in data["inputs"].items()}, data["name"])
