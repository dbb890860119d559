"""A figure's numbers as a table: so they are checked, measured, read and traced as those of tables are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimflow.products.figure.spec import FigureSpec
from mimflow.products.table.product import row_runs
from mimflow.products.table.spec import MetricColumn, OutputColumns, Row, TableSpec
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.base import Path as FieldPath


@dataclass(frozen=True)
class AsTable(Loaded[TableSpec]):
    """A figure as the table of its numbers, whose problems are told at the figure's fields."""

    places: tuple[tuple[FieldPath, bool], ...] = ()
    """Where the figure names the number of each column, and whether as a mapping."""

    def line(self, path: FieldPath, message: str, hint: str = "") -> str:
        """A problem of the table as a line with its place in the figure."""
        if path[:1] == ("columns",):
            place, mapping = self.places[int(path[1])]
            path = ("draw", *place, *(path[-1:] if mapping and len(path) > 2 else ()))
        return super().line(path, message, hint)


def as_table(figure: Loaded[FigureSpec], workspace: Workspace) -> AsTable:
    """The table of a figure's numbers; of a sweep a column for each point that a run has.

    A figure that draws no numbers is a table of a fact, which has its rows and its protocol.
    """
    spec = figure.spec
    assert spec.protocol is not None
    runs = runs_of(spec.rows, workspace) or {}
    columns: list[str | OutputColumns] = []
    places: list[tuple[FieldPath, bool]] = []
    seen: set[tuple[str, str, str]] = set()
    for path, value in spec.draw.asked:
        field: Any = spec.draw
        for step in path:
            field = field[step] if isinstance(step, int) else getattr(field, step)
        metrics: list[str | MetricColumn] = [MetricColumn(metric=value.metric, label=value.label)]
        for output in outputs_named(value.output, runs):
            key = (output, value.metric, value.protocol or spec.protocol)
            if key in seen:  # a point of a sweep that is asked for by its own name, too
                continue
            seen.add(key)
            columns.append(OutputColumns(output=output, protocol=value.protocol, metrics=metrics))
            places.append((path, not isinstance(field, str)))
    table = TableSpec(
        title=spec.title, protocol=spec.protocol, rows=spec.rows, columns=columns or ["seeds"], seeds=spec.seeds
    )
    return AsTable(figure.kind, figure.name, table, figure.node, figure.file, places=tuple(places))


def outputs_named(name: str, runs: Mapping[str, Loaded[RunSpec]]) -> list[str]:
    """The outputs that a name means: the points of the runs' sweeps of that name, and itself where a run has it."""
    swept = [point for run in runs.values() if name in run.sweeps for point in run.sweeps[name].names]
    plain = any(name in run.spec.outputs for run in runs.values()) or not swept
    return list(dict.fromkeys([*swept, *([name] if plain else [])]))


def runs_of(rows: list[Row], workspace: Workspace) -> dict[str, Loaded[RunSpec]] | None:
    """The runs of rows by name, in order; None where one is not there or is broken."""
    ablations = [row.ablation for row in rows if row.ablation is not None]
    if any(name not in workspace.ablations or workspace.broken("ablation", name) for name in ablations):
        return None
    names = [name for row in rows for name in row_runs(row, workspace)]
    return {name: workspace.runs[name] for name in names} if all(name in workspace.runs for name in names) else None
