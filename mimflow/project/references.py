"""What specs name in one another: data sets, runs, weights, protocols, metrics, outputs, published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import nearest
from mimflow.spec.validate import describe
from mimflow.spec.weights import RunWeights

if TYPE_CHECKING:
    from mimflow.project.workspace import Loaded, Workspace


def check_references(workspace: Workspace) -> Iterator[str]:
    """A line for every name that nothing has, and for every contradiction between specs."""
    yield from _check_runs(workspace)
    yield from _check_protocols(workspace)


def _check_runs(workspace: Workspace) -> Iterator[str]:
    for loaded in workspace.runs.values():
        yield from workspace.unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
        if loaded.spec.dataset in workspace.datasets:
            dataset = workspace.datasets[loaded.spec.dataset].spec
            for problem in loaded.spec.data_problems(dataset):
                yield describe(loaded.node, problem)
        for index, phase in enumerate(loaded.spec.phases):
            for position, weights in enumerate(phase.start or []):
                if isinstance(weights, RunWeights) and weights.run is not None:
                    yield from _check_weights(workspace, loaded, ("phases", index, "start", position), weights)


def _check_weights(workspace: Workspace, loaded: Loaded[Any], path: FieldPath, weights: RunWeights) -> Iterator[str]:
    assert weights.run is not None
    yield from workspace.unknown(loaded, (*path, "run"), "run", weights.run)
    if weights.run not in workspace.runs:
        return
    if weights.run == loaded.name:
        yield loaded.line((*path, "run"), "a run can't start from itself", "leave `run` out to name an earlier phase")
        return
    run = workspace.runs[weights.run].spec
    phases = {phase.name: phase for phase in run.phases}
    phase = phases.get(weights.phase) if weights.phase is not None else run.phases[-1]
    if phase is None:
        yield loaded.line(
            (*path, "phase"),
            f"run '{weights.run}' has no phase '{weights.phase}'",
            nearest(str(weights.phase), phases),
        )
    elif weights.ema and phase.ema is None:
        yield loaded.line(
            (*path, "ema"),
            f"phase '{phase.name}' of '{weights.run}' keeps no averaged weights",
            "ema: false",
        )
    if weights.seed is not None and weights.seed not in run.seeds:
        yield loaded.line((*path, "seed"), f"run '{weights.run}' has no seed {weights.seed}", f"it has {run.seeds}")
    for position, module in enumerate(weights.modules or []):
        if module not in run.modules:
            yield loaded.line(
                (*path, "modules", position),
                f"run '{weights.run}' has no module '{module}'",
                nearest(module, run.modules),
            )


def _check_protocols(workspace: Workspace) -> Iterator[str]:
    for loaded in workspace.protocols.values():
        yield from workspace.unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
        extractor = loaded.spec.extractor
        if not isinstance(extractor, ClassifierExtractorSpec):
            continue
        path: FieldPath = ("extractor", "weights")
        if extractor.weights.run is None:
            yield loaded.line(path, "names no run", "run: the run that trains the classifier")
            continue
        yield from _check_weights(workspace, loaded, path, extractor.weights)
        run = workspace.runs.get(extractor.weights.run)
        if run is not None and run.spec.classifier is None:
            yield loaded.line((*path, "run"), f"run '{run.name}' trains no classifier", "name one that does")
