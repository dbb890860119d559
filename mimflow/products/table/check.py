"""What a table names, and whether it fits."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.outputs.spec import OutputSpec
from mimflow.products.table.spec import AskedMetric, OutputColumns, Pick, TableSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.base import Path as FieldPath
from mimflow.spec.compose import OUTSIDE, nearest, within


def check_table(workspace: Workspace, loaded: Loaded[TableSpec]) -> Iterator[str]:
    """A line for every name that nothing has, and for every contradiction with other specs."""
    table = loaded.spec
    yield from workspace.unknown(loaded, ("protocol",), "protocol", table.protocol)
    for index, column in enumerate(table.columns):
        if isinstance(column, OutputColumns) and column.protocol is not None:
            yield from workspace.unknown(loaded, ("columns", index, "protocol"), "protocol", column.protocol)
    yield from _check_published(workspace, loaded)
    if table.template is not None:
        yield from _check_template(workspace, loaded, table.template)
    runs = yield from check_rows(workspace, loaded)
    # What a broken run would have is not known: it has been told, and its table is not blamed.
    known = runs if all(run in workspace.runs for run in runs) else []
    yield from _check_columns(workspace, loaded, known)
    yield from _check_given(workspace, loaded, known)


def check_rows(workspace: Workspace, loaded: Loaded[Any]) -> Generator[str, None, list[str]]:
    """What is wrong with the rows of a table, or of what has rows and protocols as one; the names of their runs."""
    runs: list[str] = []
    for index, row in enumerate(loaded.spec.rows):
        if row.samples is not None:
            continue
        kind, name = ("run", row.run) if row.run is not None else ("ablation", row.ablation or "")
        yield from workspace.unknown(loaded, ("rows", index, kind), kind, name)
        members = (
            [name]
            if kind == "run"
            else workspace.members(name)
            if name in workspace.ablations and not workspace.broken("ablation", name)
            else []
        )
        again = [member for member in members if member in runs]
        if again:
            yield loaded.line(("rows", index, kind), f"run '{again[0]}' is in a row before", "each run once")
        runs += members
        yield from _check_row(workspace, loaded, ("rows", index, kind), members)
    return runs


def _check_given(workspace: Workspace, table: Loaded[TableSpec], runs: list[str]) -> Iterator[str]:
    """Whether samples that were made elsewhere have columns of samples to stand in, each row of its own."""
    held = {name: output.content for run in runs for name, output in workspace.runs[run].spec.outputs.items()}
    fitting = table.spec.samples_outputs(held)
    seen: set[str | None] = set()
    for index, row in enumerate(table.spec.rows):
        if row.samples is None:
            continue
        path: FieldPath = ("rows", index)
        if row.samples.sha256 in seen:
            yield table.line((*path, "samples"), "the same samples are in a row before", "each once")
        seen.add(row.samples.sha256)
        if row.output is not None and row.output not in fitting:
            yield table.line(
                (*path, "output"), f"'{row.output}' has no columns of samples", nearest(row.output, fitting)
            )
        elif row.output is None and len(fitting) != 1:
            what = f"columns of samples of {' and '.join(fitting)}" if fitting else "no columns of samples"
            hint = "output: the one that they stand under" if fitting else "a column of one: guided.fid"
            yield table.line(path, f"the {table.kind} has {what}", hint)


def _check_template(workspace: Workspace, table: Loaded[TableSpec], template: str) -> Iterator[str]:
    file = workspace.root / template
    try:
        there = file.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        yield table.line(("template",), f"no file {template}", "a path relative to the project")
    elif not within(file, workspace.root):
        yield table.line(
            ("template",),
            f"{template} lies outside of the project",
            f"copy it, or name its folder in {OUTSIDE}",
        )


def _check_row(workspace: Workspace, table: Loaded[Any], path: FieldPath, members: Iterable[str]) -> Iterator[str]:
    """Whether a protocol of the table measures a run's data set, and none looks through a network of the run's."""
    protocols = [workspace.protocols[name] for name in table.spec.protocols if name in workspace.protocols]
    if not protocols or len(protocols) < len(table.spec.protocols):
        return
    for name in members:
        run = workspace.runs.get(name)
        if run is None:
            continue
        fitting = [protocol for protocol in protocols if protocol.spec.dataset == run.spec.dataset]
        if not fitting and run.spec.dataset in workspace.datasets:
            measured = " and ".join(f"protocol '{each.name}' measures '{each.spec.dataset}'" for each in protocols)
            yield table.line(
                path,
                f"run '{name}' is on data set '{run.spec.dataset}', {measured}",
                "a column holds one protocol: give such rows columns with a protocol of theirs, or another table",
            )
        for protocol in fitting:
            extractor = protocol.spec.extractor
            if isinstance(extractor, ClassifierExtractorSpec) and extractor.weights.run == name:
                yield table.line(
                    path, f"run '{name}' trains the extractor that would score it", "measure it with another"
                )


def _check_columns(workspace: Workspace, table: Loaded[TableSpec], runs: list[str]) -> Iterator[str]:
    outputs: dict[str, OutputSpec] = {}
    for run in runs:
        for name, output in _named_outputs(workspace.runs[run]):
            if outputs.setdefault(name, output).content != output.content:
                yield table.line(
                    ("rows",),
                    f"output '{name}' gives {outputs[name].content} in one run and {output.content} in '{run}'",
                    "a column shows one of them: rename one",
                )
    for path, name in dict.fromkeys((asked.output_path, asked.output) for asked in table.spec.metrics):
        if runs and name not in outputs:
            yield table.line(path, f"no run of the {table.kind} has an output '{name}'", nearest(name, outputs))
    for asked in table.spec.metrics:
        yield from _check_metric(workspace, table, asked, outputs)
    yield from _check_sweeps(workspace, table, runs)


def _named_outputs(run: Loaded[RunSpec]) -> Iterator[tuple[str, OutputSpec]]:
    """The outputs of a run by the names that columns may give them: the points of a sweep by its own name, too."""
    yield from run.spec.outputs.items()
    for name, sweep in run.sweeps.items():
        yield from ((name, run.spec.outputs[point]) for point in sweep.names)


def _check_sweeps(workspace: Workspace, table: Loaded[TableSpec], runs: list[str]) -> Iterator[str]:
    """Whether what runs sweep is picked from, and by a number that there is."""
    picks = table.spec.picks
    for asked in {asked.output: asked for asked in table.spec.metrics}.values():
        sweeps = [sweep for run in runs if (sweep := workspace.runs[run].sweeps.get(asked.output)) is not None]
        if sweeps and asked.output not in picks:
            points = ", ".join(sweeps[0].names)
            yield table.line(
                asked.output_path,
                f"'{asked.output}' is a sweep of {len(sweeps[0].names)} points",
                f"{{output: {asked.output}, pick: {{metric: fid}}, …}}, or one of {points}",
            )
    for index, column in enumerate(table.spec.columns):
        if isinstance(column, str) or column.pick is None:
            continue
        path: FieldPath = ("columns", index, "pick")
        if runs and not any(column.output in workspace.runs[run].sweeps for run in runs):
            yield table.line(path, f"no run of the table sweeps '{column.output}'", "leave it out")
        else:
            yield from _check_pick(workspace, table, path, column.pick, runs, column.output)


def _check_pick(
    workspace: Workspace, table: Loaded[TableSpec], path: FieldPath, pick: Pick, runs: list[str], output: str
) -> Iterator[str]:
    name = pick.protocol or table.spec.protocol
    if pick.protocol is not None:
        yield from workspace.unknown(table, (*path, "protocol"), "protocol", pick.protocol)
    protocol = workspace.protocols.get(name)
    if protocol is None:
        return
    place: FieldPath = (*path, "metric")
    numbers = protocol.spec.numbers
    if pick.metric not in numbers:
        yield table.line(place, f"protocol '{name}' reports no '{pick.metric}'", nearest(pick.metric, numbers))
        return
    if numbers[pick.metric].direction is None:
        judged = ", ".join(number.name for number in numbers.values() if number.direction is not None)
        yield table.line(place, f"no end of '{pick.metric}' is the better one", f"those with one: {judged or 'none'}")
    for run in runs:
        spec = workspace.runs[run].spec
        if spec.dataset != protocol.spec.dataset and pick.protocol is not None:
            yield table.line(
                (*path, "protocol"),
                f"run '{run}' is on data set '{spec.dataset}', protocol '{name}' measures '{protocol.spec.dataset}'",
                "a protocol of the run's data set",
            )
    measures = {number: metric.measures for metric in protocol.spec.metrics for number in metric.reports}
    given = {spec.content for run in runs for named, spec in _named_outputs(workspace.runs[run]) if named == output}
    if unfit := given - set(measures[pick.metric]):
        yield table.line(
            place,
            f"'{pick.metric}' measures {' and '.join(measures[pick.metric])}, output '{output}' gives {min(unfit)}",
            "a metric that fits it",
        )


def _check_metric(
    workspace: Workspace,
    table: Loaded[TableSpec],
    asked: AskedMetric,
    outputs: Mapping[str, OutputSpec],
) -> Iterator[str]:
    """Whether the protocol reports a column's metric, and of what the column's output gives."""
    protocol = workspace.protocols.get(asked.protocol)
    if protocol is None:
        return
    wanted = asked.column.metric
    measures = {name: metric.measures for metric in protocol.spec.metrics for name in metric.reports}
    if wanted not in measures:
        yield table.line(
            asked.metric_path, f"protocol '{protocol.name}' reports no '{wanted}'", nearest(wanted, measures)
        )
    elif asked.output in outputs and (given := outputs[asked.output].content) not in measures[wanted]:
        fitting = [name for name, output in outputs.items() if output.content in measures[wanted]]
        reported = [name for name, fit in measures.items() if given in fit]
        yield table.line(
            asked.metric_path,
            f"'{wanted}' measures {' and '.join(measures[wanted])}, output '{asked.output}' gives {given}",
            f"outputs that fit: {', '.join(fitting) or 'none'}; "
            f"metrics that fit '{asked.output}': {', '.join(reported) or 'none'}",
        )


def _check_published(workspace: Workspace, table: Loaded[TableSpec]) -> Iterator[str]:
    for index, rows in enumerate(table.spec.published):
        yield from workspace.unknown(table, ("published", index, "file"), "published", rows.file)
        if rows.file not in workspace.published:
            continue
        entries = workspace.published[rows.file].spec.entries
        for position, name in enumerate(rows.entries):
            path: FieldPath = ("published", index, "entries", position)
            if name in rows.entries[:position]:
                yield table.line(path, f"entry '{name}' twice", "each once")
            if name not in entries:
                yield table.line(path, f"'{rows.file}' has no entry '{name}'", nearest(name, entries))
            elif not entries[name].primary:
                yield table.line(
                    path,
                    f"entry '{name}' is quoted second-hand by its source",
                    "tables show primary sources only",
                )
