"""What specs name in one another: data sets, runs, weights, protocols, metrics, outputs, published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.project.deviations import deviation_problems
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import nearest
from mimflow.spec.validate import describe
from mimflow.spec.weights import RunWeights

if TYPE_CHECKING:
    from mimflow.project.protocol import ProtocolSpec
    from mimflow.project.run import RunSpec
    from mimflow.project.workspace import Loaded, Workspace


def check_references(workspace: Workspace, loaded: Loaded[Any]) -> Iterator[str]:
    """A line for every name in a run or protocol that nothing has, and for every contradiction with other specs."""
    yield from workspace.unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
    yield from (_check_run if loaded.kind == "run" else _check_protocol)(workspace, loaded)


def _check_run(workspace: Workspace, loaded: Loaded[RunSpec]) -> Iterator[str]:
    if loaded.spec.dataset in workspace.datasets:
        dataset = workspace.datasets[loaded.spec.dataset].spec
        for problem in loaded.spec.data_problems(dataset):
            yield describe(loaded.node, problem)
    yield from _check_twin(workspace, loaded)
    for name, phase in loaded.spec.phases.items():
        for position, weights in enumerate(phase.start or []):
            if isinstance(weights, RunWeights) and weights.run is not None:
                yield from _check_weights(workspace, loaded, ("phases", name, "start", position), weights)
    for position, weights in enumerate(loaded.spec.weights or []):
        if isinstance(weights, RunWeights) and weights.run is not None:
            yield from _check_weights(workspace, loaded, ("weights", position), weights)


def _check_twin(workspace: Workspace, loaded: Loaded[RunSpec]) -> Iterator[str]:
    name = loaded.spec.twin_of
    if name is None:
        return
    yield from workspace.unknown(loaded, ("twin_of",), "run", name)
    if name == loaded.name:
        yield loaded.line(("twin_of",), "a run is no twin of itself", "the run of the paper's scale")
    elif name in workspace.runs:
        for problem in deviation_problems(workspace.runs[name].spec, loaded.spec):
            yield describe(loaded.node, problem)


def _check_weights(workspace: Workspace, loaded: Loaded[Any], path: FieldPath, weights: RunWeights) -> Iterator[str]:
    assert weights.run is not None
    yield from workspace.unknown(loaded, (*path, "run"), "run", weights.run)
    if weights.run not in workspace.runs:
        return
    if weights.run == loaded.name:
        yield loaded.line((*path, "run"), "a run can't start from itself", "leave `run` out to name an earlier phase")
        return
    run = workspace.runs[weights.run].spec
    name = weights.phase or run.last_phase
    if name is None:
        yield loaded.line(
            (*path, "run"), f"run '{weights.run}' trains nothing", "the files that its own `weights` name"
        )
    elif name not in run.phases:
        yield loaded.line(
            (*path, "phase"),
            f"run '{weights.run}' has no phase '{weights.phase}'",
            nearest(name, run.phases),
        )
    elif weights.ema and run.phases[name].ema is None:
        yield loaded.line(
            (*path, "ema"),
            f"phase '{name}' of '{weights.run}' keeps no averaged weights",
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


def _check_protocol(workspace: Workspace, loaded: Loaded[ProtocolSpec]) -> Iterator[str]:
    yield from _check_reference(workspace, loaded)
    extractor = loaded.spec.extractor
    if not isinstance(extractor, ClassifierExtractorSpec):
        return
    path: FieldPath = ("extractor", "weights")
    if extractor.weights.run is None:
        yield loaded.line(path, "names no run", "run: the run that trains the classifier")
        return
    yield from _check_weights(workspace, loaded, path, extractor.weights)
    run = workspace.runs.get(extractor.weights.run)
    if run is not None and run.spec.classifier is None:
        yield loaded.line((*path, "run"), f"run '{run.name}' trains no classifier", "name one that does")


def _check_reference(workspace: Workspace, loaded: Loaded[ProtocolSpec]) -> Iterator[str]:
    """Whether the reference asks for more images than its split has, where that is known."""
    reference, dataset = loaded.spec.reference, workspace.datasets.get(loaded.spec.dataset)
    images = dataset.spec.split_images.get(reference.split) if dataset is not None else None
    if images is not None and reference.count is not None and reference.count > images:
        yield loaded.line(
            ("reference", "count"),
            f"{reference.count} images, split '{reference.split}' of '{loaded.spec.dataset}' has {images}",
            "leave it out to take them all",
        )
