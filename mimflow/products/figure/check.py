"""What a figure names, and whether it fits: its rows and numbers as a table's rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mimflow.products.figure.as_table import as_table, outputs_named, runs_of
from mimflow.products.figure.drawing import POWER, PythonDrawing, SpectrumDrawing
from mimflow.products.figure.function import function_problem
from mimflow.products.figure.spec import FigureSpec
from mimflow.products.table.check import check_rows, check_table
from mimflow.project.run import RunSpec
from mimflow.project.workspace import Loaded, Workspace
from mimflow.spec.compose import nearest


def check_figure(workspace: Workspace, loaded: Loaded[FigureSpec]) -> Iterator[str]:
    """A line for every name that nothing has, and for every contradiction with other specs."""
    figure = loaded.spec
    runs = runs_of(figure.rows, workspace) or {}
    mixed = list(_mixed(loaded, runs))
    yield from mixed
    if mixed:
        return
    if figure.protocol is None:
        yield from check_rows(workspace, loaded)
    else:
        yield from check_table(workspace, as_table(loaded, workspace))
    for problem in figure.draw.run_problems(runs):
        yield loaded.line(("draw", *problem.path), problem.message, problem.hint)
    if isinstance(figure.draw, SpectrumDrawing):
        yield from _check_spectrum(workspace, loaded, figure.draw, runs)
    if isinstance(figure.draw, PythonDrawing) and (wrong := function_problem(figure.draw.function, workspace.root)):
        yield loaded.line(("draw", "function"), *wrong)


def _mixed(loaded: Loaded[FigureSpec], runs: Mapping[str, Loaded[RunSpec]]) -> Iterator[str]:
    """Names that mean a sweep in one run and an output in another: which number is drawn could not be told."""
    for path, value in loaded.spec.draw.asked:
        swept = [name for name, run in runs.items() if value.output in run.sweeps]
        plain = [name for name, run in runs.items() if value.output in run.spec.outputs]
        if swept and plain:
            yield loaded.line(
                ("draw", *path),
                f"run '{swept[0]}' sweeps '{value.output}', and run '{plain[0]}' has one output of that name",
                "another name for one of them",
            )


def _check_spectrum(
    workspace: Workspace, loaded: Loaded[FigureSpec], draw: SpectrumDrawing, runs: Mapping[str, Loaded[RunSpec]]
) -> Iterator[str]:
    """Whether the protocol's metrics find the functions that are asked for, of what the output holds."""
    protocol = workspace.protocols.get(loaded.spec.protocol or "")
    held = {
        run.spec.outputs[name].content
        for run in runs.values()
        for name in outputs_named(draw.output, runs)
        if name in run.spec.outputs
    }
    if protocol is None or not held:
        return
    found = [curve.name for metric in protocol.spec.metrics if held & set(metric.measures) for curve in metric.curves]
    if draw.curves is None and not any(POWER in name for name in found):
        yield loaded.line(
            ("draw", "output"),
            f"no metric of protocol '{protocol.name}' finds a spectrum of {' or '.join(sorted(held))}",
            "latent_spectrum or image_spectrum among its metrics, or curves that they find",
        )
    for place, name in enumerate(draw.curves or []):
        if name not in found:
            yield loaded.line(
                ("draw", "curves", place),
                f"no metric of protocol '{protocol.name}' finds '{name}' of output '{draw.output}'",
                nearest(name, found),
            )
