"""What a figure names, and whether it fits: its rows and numbers as a table's rows and columns."""

from __future__ import annotations

from collections.abc import Iterator

from mimflow.products.figure.as_table import as_table, runs_of
from mimflow.products.figure.drawing import PythonDrawing, SpectrumDrawing
from mimflow.products.figure.function import function_problem
from mimflow.products.figure.spec import FigureSpec
from mimflow.products.table.check import check_rows, check_table
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.compose import nearest


def check_figure(workspace: Workspace, loaded: Loaded[FigureSpec]) -> Iterator[str]:
    """A line for every name that nothing has, and for every contradiction with other specs."""
    figure = loaded.spec
    if figure.protocol is None:
        yield from check_rows(workspace, loaded)
    else:
        yield from check_table(workspace, as_table(loaded, workspace))
    for problem in figure.draw.run_problems(runs_of(figure.rows, workspace) or {}):
        yield loaded.line(("draw", *problem.path), problem.message, problem.hint)
    if isinstance(figure.draw, SpectrumDrawing):
        yield from _check_spectrum(workspace, loaded, figure.draw)
    if isinstance(figure.draw, PythonDrawing) and (wrong := function_problem(figure.draw.function, workspace.root)):
        yield loaded.line(("draw", "function"), *wrong)


def _check_spectrum(workspace: Workspace, loaded: Loaded[FigureSpec], draw: SpectrumDrawing) -> Iterator[str]:
    """Whether the protocol's metrics find the functions that are asked for."""
    protocol = workspace.protocols.get(loaded.spec.protocol or "")
    if protocol is None:
        return
    found = [curve.name for metric in protocol.spec.metrics for curve in metric.curves]
    for place, name in enumerate(draw.curves or []):
        if name not in found:
            yield loaded.line(
                ("draw", "curves", place),
                f"no metric of protocol '{protocol.name}' finds '{name}'",
                nearest(name, found),
            )
