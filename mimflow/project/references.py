"""What specs name in one another: data sets, runs, weights, protocols, metrics, outputs, published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.project.deviations import deviation_problems
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import nearest
from mimflow.spec.validate import describe
from mimflow.spec.weights import RunWeights

if TYPE_CHECKING:
    from mimflow.project.claim import ClaimSpec, Comparison
    from mimflow.project.protocol import ProtocolSpec
    from mimflow.project.run import RunSpec
    from mimflow.project.workspace import Loaded, Workspace


def check_references(workspace: Workspace, loaded: Loaded[Any]) -> Iterator[str]:
    """A line for every name in a run, protocol or claim that nothing has, and every contradiction with other specs."""
    if loaded.kind == "claim":
        yield from _check_claim(workspace, loaded)
        return
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
        if module not in run.loadable:
            yield loaded.line(
                (*path, "modules", position),
                f"run '{weights.run}' has no module '{module}'",
                nearest(module, run.loadable),
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
    """Whether a reference asks for more images than its split has, where that is known."""
    dataset = workspace.datasets.get(loaded.spec.dataset)
    own: list[tuple[FieldPath, ReferenceSpec | None]] = [
        (("metrics", index, "reference"), metric.reference) for index, metric in enumerate(loaded.spec.metrics)
    ]
    for path, reference in ((("reference",), loaded.spec.reference), *own):
        if dataset is None or not isinstance(reference, SplitReferenceSpec):
            continue
        images = dataset.spec.split_images.get(reference.split)
        if images is not None and reference.count is not None and reference.count > images:
            yield loaded.line(
                (*path, "count"),
                f"{reference.count} images, split '{reference.split}' of '{loaded.spec.dataset}' has {images}",
                "leave it out to take them all",
            )


def _check_claim(workspace: Workspace, loaded: Loaded[ClaimSpec]) -> Iterator[str]:
    if loaded.spec.comparison is not None:
        yield from _check_comparison(workspace, loaded, ("comparison",), loaded.spec.comparison)
    for index, control in enumerate(loaded.spec.controls):
        yield from _check_comparison(workspace, loaded, ("controls", index), control)


def _check_comparison(
    workspace: Workspace, loaded: Loaded[ClaimSpec], path: FieldPath, comparison: Comparison
) -> Iterator[str]:
    yield from workspace.unknown(loaded, (*path, "protocol"), "protocol", comparison.protocol)
    protocol = workspace.protocols.get(comparison.protocol)
    if protocol is not None and comparison.metric not in protocol.spec.numbers:
        hint = nearest(comparison.metric, protocol.spec.numbers)
        yield loaded.line((*path, "metric"), f"protocol '{protocol.name}' reports no '{comparison.metric}'", hint)
        return
    metrics = protocol.spec.metrics if protocol is not None else []
    measured = next((metric.measures for metric in metrics if comparison.metric in metric.reports), ())
    for name, side in (("claimed", comparison.claimed), ("against", comparison.against)):
        yield from workspace.unknown(loaded, (*path, name, "run"), "run", side.run)
        run = workspace.runs.get(side.run)
        if run is None:
            continue
        if side.output not in run.spec.outputs:
            hint = nearest(side.output, run.spec.outputs)
            yield loaded.line((*path, name, "output"), f"run '{run.name}' has no output '{side.output}'", hint)
        elif protocol is not None and (content := run.spec.outputs[side.output].content) not in measured:
            yield loaded.line(
                (*path, name, "output"),
                f"output '{side.output}' gives {content}, '{comparison.metric}' measures {' and '.join(measured)}",
                "an output that it measures",
            )
        if protocol is not None and run.spec.dataset != protocol.spec.dataset:
            yield loaded.line(
                (*path, name, "run"),
                f"run '{run.name}' is on data set '{run.spec.dataset}', protocol '{protocol.name}' measures "
                f"'{protocol.spec.dataset}'",
                "runs of the protocol's data set",
            )
