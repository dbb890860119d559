"""Jobs as their results recorded them: tasks again, from the manifests of the store and not from today's specs.

A manifest holds what its key was hashed from. What never entered the key (where a file lies, on how many devices) is
not in it: it is taken from today's specs where these say the same otherwise, a file of the same digest, and is the
default elsewhere. The key is the check: a task that does not give the recorded one is not the job's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mimflow.artifacts.manifest import Manifest, canonical, read_manifest
from mimflow.compute.spec import Compute
from mimflow.errors import PlanError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.jobs import KEY_LENGTH, Job
from mimflow.spec.base import PLAIN, Spec
from mimflow.tasks import TASKS, PrepareTask


def manifest_of(root: Path, key: str) -> Manifest | None:
    """The manifest of the job with a key, of whatever stage; None if its result is not in the store."""
    for stage in paths.FOLDERS:
        path = root / paths.manifest(stage, key[:KEY_LENGTH])
        if path.is_file() and (manifest := read_manifest(path)).key == key:
            return manifest
    return None


class RecordedJobs:
    """The jobs of keys: today's plan's where it has them, those of the store's manifests elsewhere."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.root = plan.root
        self._jobs: dict[str, Job] = {}

    def job(self, key: str, compute: Mapping[str, Any] | None = None) -> Job:
        """The job with a key; `compute` is how whoever reads its result is computed.

        PlanError if neither specs nor store know it, or if this version of mimflow would give it another key.
        """
        if key not in self._jobs:
            planned = self.plan.jobs.get(key[:KEY_LENGTH])
            self._jobs[key] = planned if planned is not None and planned.key == key else self._made(key, compute or {})
        return self._jobs[key]

    def _made(self, key: str, compute: Mapping[str, Any]) -> Job:
        manifest = manifest_of(self.root, key)
        if manifest is None:
            raise PlanError(f"the job {key[:KEY_LENGTH]} is neither in the store nor what specs ask for (`dvc pull`)")
        inputs: dict[str, Job] = {}
        data = self._with_files(manifest.task)
        if "output" in manifest.inputs:  # an evaluation is computed as its samples are
            inputs["output"] = self.job(manifest.inputs["output"])
            compute = inputs["output"].compute.model_dump(mode="json")
        data.setdefault("compute", dict(compute) or Compute().model_dump(mode="json"))
        for role, upstream in manifest.inputs.items():
            inputs.setdefault(role, self.job(upstream, data["compute"]))
        job = Job(_task(manifest, data), {role: inputs[role] for role in manifest.inputs}, manifest.name)
        if job.key != key:
            git = manifest.made.get("git", {})
            raise PlanError(
                f"{manifest.stage} {manifest.name}: this version of mimflow gives its task another key "
                f"(made by mimflow {manifest.made.get('packages', {}).get('mimflow', 'of no version known')}, "
                f"commit {(git.get('commit') or 'unknown')[:12]})"
            )
        return job

    def _with_files(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """A task as it was recorded, with where the files lie that it names by digest."""
        data = {name: self._found(value) for name, value in task.items()}
        if "dataset" in data and (today := self._pinned.get(canonical(task["files"]))) is not None:
            source = {**data["dataset"]["source"], **_outside(today.dataset.source)}
            assert today.files is not None
            data |= {"dataset": {**data["dataset"], "source": source}, "files": today.files.model_dump(mode="json")}
        return data

    def _found(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._found(item) for name, item in value.items()} | self._places.get(canonical(value), {})
        return [self._found(item) for item in value] if isinstance(value, list) else value

    @cached_property
    def _places(self) -> dict[str, dict[str, Any]]:
        """The fields outside the key that specs with a file have today, by what enters their key."""
        return {
            canonical(spec.identity()): _outside(spec)
            for job in self.plan.jobs.values()
            for spec in _specs(job.task)
            if "file" in spec.outside_key and "sha256" in type(spec).model_fields
        }

    @cached_property
    def _pinned(self) -> dict[str, PrepareTask]:
        """Today's preparations by their pins: the path of a folder is no part of a key, the digest of its files is."""
        tasks = [job.task for job in self.plan.jobs.values() if isinstance(job.task, PrepareTask)]
        return {canonical(task.files.identity()): task for task in tasks if task.files is not None}


def _outside(spec: Spec) -> dict[str, Any]:
    """The fields of a spec that enter no key, as plain data."""
    return spec.model_dump(mode="json", include=set(spec.outside_key))


def _specs(value: Any) -> Iterator[Spec]:
    """A spec, and every spec inside it."""
    if isinstance(value, Spec):
        yield value
        value = dict(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for item in items:
        if not isinstance(item, PLAIN):
            yield from _specs(item)


def _task(manifest: Manifest, data: dict[str, Any]) -> Any:
    kind = TASKS[manifest.stage]
    if "phase_name" in kind.model_fields:
        data["phase_name"] = manifest.name.split(".")[1]
    known = {name: value for name, value in data.items() if name in kind.written_names().values()}
    try:
        # From JSON, because only there a list may strictly be a tuple.
        return kind.model_validate_json(json.dumps(known))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PlanError(
            f"{manifest.stage} {manifest.name}: its record is not enough: {place}: {first['msg']} "
            "(a field that this version does not know, or a file that no spec says the place of any more)"
        ) from None
