"""Where a trained system lies, and what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mimflow.artifacts.checkpoint import AVERAGED, weights_file
from mimflow.artifacts.manifest import Artifact
from mimflow.errors import ArtifactError, PlanError
from mimflow.outputs.spec import OutputSpec
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_plan
from mimflow.spec.weights import RunWeights
from mimflow.system.spec import Shapes, System
from mimflow.weights.given import given_file


@dataclass(frozen=True)
class Trained:
    """What `load` builds a system from."""

    system: System
    shapes: Shapes
    outputs: Mapping[str, OutputSpec]
    weights: list[tuple[Path, list[str] | None]]
    """Files, one after the other, with the modules to take from each; all that it has where none are named."""
    averaged: bool
    seed: int


def from_run(project: Path, name: str, seed: int | None, averaged: bool | None) -> Trained:
    """A run of a project. PlanError if there is none, or no such seed; ArtifactError if it is not trained yet."""
    plan = open_plan(project)
    run = plan.workspace.get("run", name).spec
    chosen = run.seeds[0] if seed is None else seed
    if chosen not in run.seeds:
        raise PlanError(f"run '{name}' has no seed {chosen} (its seeds: {', '.join(map(str, run.seeds))})")
    shapes = Shapes.of(plan.workspace.get("dataset", run.dataset).spec)
    if run.last_phase is None:
        return Trained(run.system, shapes, run.outputs, _given(plan, name, chosen), averaged is not False, chosen)
    artifact = _finished(plan.train(name, run.last_phase, chosen), plan.root, name, chosen)
    return _trained(artifact, run.system, shapes, run.outputs, averaged, chosen)


def _given(plan: Plan, name: str, seed: int) -> list[tuple[Path, list[str] | None]]:
    """The weights that a run without training is given."""
    found: list[tuple[Path, list[str] | None]] = []
    for weights in plan.workspace.runs[name].spec.weights or []:
        if isinstance(weights, RunWeights):
            artifact = _finished(plan.weights(weights, name, seed), plan.root, weights.run or name, seed)
            found.append((artifact.file(weights_file(weights.ema)), weights.modules))
        else:
            at = weights.model_copy(update={"file": str(plan.root / weights.file)})
            found.append((given_file(at, f"the weights of run '{name}'"), weights.modules))
    return found


def _finished(job: Job, root: Path, run: str, seed: int) -> Artifact:
    artifact = job.result(root)
    if artifact is None:
        target = f"snakemake --cores all results/runs/{run}.md"
        raise ArtifactError(f"run '{run}' is not trained with seed {seed} ({target})")
    return artifact


def from_folder(folder: Path, averaged: bool | None) -> Trained:
    """A finished phase of the store or an imported checkpoint. ArtifactError if the folder holds something else."""
    artifact = Artifact.open(folder)
    task: dict[str, Any] = artifact.manifest.task
    task = task.get("task", task)
    try:
        # From JSON, because only there a list may strictly be a tuple.
        system = System.model_validate_json(json.dumps(task["system"]))
        shapes = Shapes.model_validate_json(json.dumps(task["shapes"]))
    except (KeyError, ValidationError):
        stage = artifact.manifest.stage
        raise ArtifactError(f"{folder}: a result of {stage}, which holds no weights of a system") from None
    return _trained(artifact, system, shapes, {}, averaged, int(task.get("seed", 0)))


def _trained(
    artifact: Artifact,
    system: System,
    shapes: Shapes,
    outputs: Mapping[str, OutputSpec],
    averaged: bool | None,
    seed: int,
) -> Trained:
    takes = AVERAGED in artifact.manifest.files if averaged is None else averaged
    return Trained(system, shapes, outputs, [(artifact.file(weights_file(takes)), None)], takes, seed)
