"""Which modules a job runs: its stage, and the parts that its task names."""

from __future__ import annotations

import hashlib
from typing import Any

from mimflow.artifacts.manifest import canonical
from mimflow.artifacts.provenance import COMPUTING, versions
from mimflow.artifacts.source import source_digest
from mimflow.classifiers.registry import CLASSIFIERS
from mimflow.contents.registry import CONTENTS
from mimflow.data.registry import SOURCES
from mimflow.features.registry import EXTRACTORS, NETWORKS
from mimflow.metrics.reference.registry import REFERENCES
from mimflow.metrics.registry import METRICS
from mimflow.objectives.registry import OBJECTIVES
from mimflow.outputs.registry import OUTPUTS
from mimflow.priors.registry import PRIORS
from mimflow.spec.base import Spec
from mimflow.spec.registry import Registry
from mimflow.tasks import EvaluateTask, Task
from mimflow.tokenizers.registry import TOKENIZERS

REGISTRIES: tuple[Registry, ...] = (
    SOURCES,
    TOKENIZERS,
    PRIORS,
    CLASSIFIERS,
    NETWORKS,
    OBJECTIVES,
    OUTPUTS,
    METRICS,
    REFERENCES,
    EXTRACTORS,
)
"""Every axis: the schema, the documentation and the contract tests go over these."""


def modules(task: Task) -> frozenset[str]:
    """The modules that a job with this task starts from."""
    found = {f"mimflow.stages.{task.stage}"}
    if isinstance(task, EvaluateTask):
        found.add(CONTENTS[task.content].opener.partition(":")[0])
    _parts(task, found)
    return frozenset(found)


def digest(task: Task) -> str:
    """SHA-256 of the source that a job with this task runs."""
    return source_digest(modules(task))


def makers(task: Task) -> dict[str, Any]:
    """What the results of a job with this task follow from besides the task: its source, and packages that compute."""
    return {"source": digest(task), "packages": versions(COMPUTING)}


def attempt(made: dict[str, Any]) -> str:
    """The name of the folder that work in progress lies in, of what `makers` says."""
    return hashlib.sha256(canonical(made).encode()).hexdigest()[:16]


def _parts(value: Any, found: set[str]) -> None:
    if isinstance(value, Spec):
        for registry in REGISTRIES:
            if any(type(value) is registry.spec(kind) for kind in registry):
                found.add(registry.module(value.kind))  # type: ignore[attr-defined]
        for name in type(value).model_fields:
            _parts(getattr(value, name), found)
    elif isinstance(value, dict):
        for item in value.values():
            _parts(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _parts(item, found)
