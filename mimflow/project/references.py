"""What specs name in one another: data sets, runs, weights, protocols, metrics, outputs, published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.outputs.spec import OutputSpec
from mimflow.products.table.spec import MetricColumn, TableSpec
from mimflow.project.deviations import deviation_problems
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import nearest
from mimflow.spec.validate import describe
from mimflow.spec.weights import RunWeights

if TYPE_CHECKING:
    from mimflow.project.protocol import ProtocolSpec
    from mimflow.project.run import RunSpec
    from mimflow.project.workspace import Loaded, Workspace


def check_references(workspace: Workspace) -> Iterator[str]:
    """A line for every name that nothing has, and for every contradiction between specs."""
    yield from _check_runs(workspace)
    yield from _check_protocols(workspace)
    yield from _check_tables(workspace)


def _check_runs(workspace: Workspace) -> Iterator[str]:
    for loaded in workspace.runs.values():
        yield from workspace.unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
        if loaded.spec.dataset in workspace.datasets:
            dataset = workspace.datasets[loaded.spec.dataset].spec
            for problem in loaded.spec.data_problems(dataset):
                yield describe(loaded.node, problem)
        yield from _check_twin(workspace, loaded)
        for name, phase in loaded.spec.phases.items():
            for position, weights in enumerate(phase.start or []):
                if isinstance(weights, RunWeights) and weights.run is not None:
                    yield from _check_weights(workspace, loaded, ("phases", name, "start", position), weights)


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
    if name not in run.phases:
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


def _check_protocols(workspace: Workspace) -> Iterator[str]:
    for loaded in workspace.protocols.values():
        yield from workspace.unknown(loaded, ("dataset",), "dataset", loaded.spec.dataset)
        yield from _check_reference(workspace, loaded)
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


def _check_tables(workspace: Workspace) -> Iterator[str]:
    for loaded in workspace.tables.values():
        table = loaded.spec
        yield from workspace.unknown(loaded, ("protocol",), "protocol", table.protocol)
        yield from _check_published(workspace, loaded)
        if table.template is not None and not (workspace.root / table.template).is_file():
            yield loaded.line(("template",), f"no file {table.template}", "a path relative to the project")
        runs: list[str] = []
        for index, row in enumerate(table.rows):
            kind, name = ("run", row.run) if row.run is not None else ("ablation", row.ablation or "")
            yield from workspace.unknown(loaded, ("rows", index, kind), kind, name)
            members = (
                [name]
                if kind == "run"
                else workspace.members(name)
                if name in workspace.ablations and not workspace.broken("ablation", name)
                else []
            )
            runs += members
            yield from _check_row(workspace, loaded, ("rows", index, kind), members)
        # What a broken run would have is not known: it has been told, and its table is not blamed.
        yield from _check_columns(workspace, loaded, runs if all(run in workspace.runs for run in runs) else [])


def _check_row(
    workspace: Workspace, table: Loaded[TableSpec], path: FieldPath, members: Iterable[str]
) -> Iterator[str]:
    protocol = workspace.protocols.get(table.spec.protocol)
    for name in members:
        run = workspace.runs.get(name)
        if run is None or protocol is None:
            continue
        if run.spec.dataset != protocol.spec.dataset and run.spec.dataset in workspace.datasets:
            yield table.line(
                path,
                f"run '{name}' is on data set '{run.spec.dataset}', "
                f"protocol '{protocol.name}' measures '{protocol.spec.dataset}'",
                "a column holds one protocol: rows under another belong to another table",
            )
        extractor = protocol.spec.extractor
        if isinstance(extractor, ClassifierExtractorSpec) and extractor.weights.run == name:
            yield table.line(path, f"run '{name}' trains the extractor that would score it", "measure it with another")


def _check_columns(workspace: Workspace, table: Loaded[TableSpec], runs: list[str]) -> Iterator[str]:
    outputs: dict[str, OutputSpec] = {}
    for run in runs:
        for name, output in workspace.runs[run].spec.outputs.items():
            if outputs.setdefault(name, output).subject != output.subject:
                yield table.line(
                    ("rows",),
                    f"output '{name}' gives {outputs[name].subject} in one run and {output.subject} in '{run}'",
                    "a column shows one of them: rename one",
                )
    for index, column in enumerate(table.spec.columns):
        if column.kind != "metric":
            continue
        if runs and column.output not in outputs:
            yield table.line(
                ("columns", index, "output"),
                f"no run of the table has a output '{column.output}'",
                nearest(column.output, outputs),
            )
        yield from _check_metric(workspace, table, index, column, outputs)


def _check_metric(
    workspace: Workspace,
    table: Loaded[TableSpec],
    index: int,
    column: MetricColumn,
    outputs: Mapping[str, OutputSpec],
) -> Iterator[str]:
    """Whether the protocol reports a column's metric, and of what the column's output gives."""
    protocol = workspace.protocols.get(table.spec.protocol)
    if protocol is None:
        return
    path: FieldPath = ("columns", index, "metric")
    subjects = {name: metric.subjects for metric in protocol.spec.metrics for name in metric.reports}
    if column.metric not in subjects:
        yield table.line(
            path, f"protocol '{protocol.name}' reports no '{column.metric}'", nearest(column.metric, subjects)
        )
    elif column.output in outputs and (given := outputs[column.output].subject) not in subjects[column.metric]:
        fitting = [name for name, output in outputs.items() if output.subject in subjects[column.metric]]
        reported = [name for name, fit in subjects.items() if given in fit]
        yield table.line(
            path,
            f"'{column.metric}' measures {' and '.join(subjects[column.metric])}, "
            f"output '{column.output}' gives {given}",
            f"outputs that fit: {', '.join(fitting) or 'none'}; "
            f"metrics that fit '{column.output}': {', '.join(reported) or 'none'}",
        )


def _check_published(workspace: Workspace, table: Loaded[TableSpec]) -> Iterator[str]:
    for index, rows in enumerate(table.spec.published):
        yield from workspace.unknown(table, ("published", index, "file"), "published", rows.file)
        if rows.file not in workspace.published:
            continue
        entries = workspace.published[rows.file].spec.entries
        for position, name in enumerate(rows.entries):
            path: FieldPath = ("published", index, "entries", position)
            if name not in entries:
                yield table.line(path, f"'{rows.file}' has no entry '{name}'", nearest(name, entries))
            elif not entries[name].primary:
                yield table.line(
                    path,
                    f"entry '{name}' is quoted second-hand by its source",
                    "tables show primary sources only",
                )
