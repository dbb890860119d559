"""A job: one stage on one task, known by the key of all that it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import Artifact
from mimflow.errors import ArtifactError
from mimflow.plan import paths
from mimflow.tasks import Task

KEY_LENGTH = 16
"""Hexadecimal digits of a key that folders are named by."""


@dataclass(frozen=True)
class Job:
    """One stage on one task, and the jobs whose results it reads by role. Equal keys are one job under any name."""

    task: Task
    inputs: Mapping[str, Job]
    name: str
    """A name that the specs have for it, for people: `tarflow.main.s0`. There may be others."""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.task.key(self._input_keys))

    def hashed(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return self.task.hashed(self._input_keys)

    @property
    def _input_keys(self) -> dict[str, str]:
        return {role: job.key for role, job in self.inputs.items()}

    @property
    def stage(self) -> str:
        return self.task.stage

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.key[:KEY_LENGTH]

    @property
    def folder(self) -> str:
        return paths.folder(self.stage, self.id)

    @property
    def manifest(self) -> str:
        return paths.manifest(self.stage, self.id)

    @property
    def compute(self) -> Any:
        """Where it is computed; None for stages that need no network."""
        return getattr(self.task, "compute", None)

    def done(self, root: Path) -> bool:
        """Whether its result is in the store."""
        return (root / self.manifest).is_file()

    def result(self, root: Path) -> Artifact | None:
        """Its result, or None if it is not in the store. ArtifactError if what lies there is another job's."""
        if not self.done(root):
            return None
        artifact = Artifact.open(root / self.folder)
        if artifact.manifest.key != self.key:
            raise ArtifactError(
                f"{self.folder}: its manifest has the key {artifact.manifest.key[:12]}… "
                "(not made by this job: delete it)"
            )
        return artifact

    def upstream(self) -> Iterator[Job]:
        """Every job that this one reads from, directly or not, each once and before what reads it."""
        seen: set[str] = set()
        for job in self.inputs.values():
            for above in (*job.upstream(), job):
                if above.id not in seen:
                    seen.add(above.id)
                    yield above
