"""Training curves as a picture: a panel for each figure of the log, a line for each phase.

A figure on the validation split stands in the panel of its namesake, a dot at each look.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimflow.artifacts.log import KEPT, LEADING, SECONDS, VALIDATION

ACROSS = 3
"""Panels in a row."""
PANEL = (3.6, 2.4)
"""Inches of a panel: width and height."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which people with any colour vision can tell apart."""
STYLES = ("-", "--", ":", "-.")
PLACES = ("step", "epoch", SECONDS, KEPT)
"""Columns that say where a row stands, and are no figures."""


@dataclass(frozen=True)
class Curve:
    """The log of a training under a name."""

    name: str
    rows: Sequence[Mapping[str, float]]


def columns_of(curves: Sequence[Curve]) -> list[str]:
    """The figures that logs hold, `loss` first, those on the validation split under their own names."""
    names = list(dict.fromkeys(name for curve in curves for row in curve.rows for name in row if name not in PLACES))
    return sorted(names, key=lambda name: (name.removeprefix(VALIDATION) not in LEADING, name == "lr"))


def draw_curves(
    curves: Sequence[Curve], *, kind: str = "png", columns: Sequence[str] = (), over: str = "step"
) -> bytes:
    """A picture of kind png, svg or pdf, the same bytes for the same logs: figures over steps, first `loss`.

    `columns` are the figures to draw, all of them if none is named; `over` is `step` or `epoch`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in columns or columns_of(curves)))
    drawn = set(columns or columns_of(curves))
    # A user's matplotlibrc must not change the bytes.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams |= {"svg.hashsalt": "mimflow", "font.size": 8, "axes.titlesize": 8}
        rows = -(-max(1, len(names)) // ACROSS)
        figure = Figure(figsize=(PANEL[0] * ACROSS, PANEL[1] * rows), dpi=100, layout="constrained")
        axes = figure.subplots(rows, ACROSS, squeeze=False).flatten()
        for place, axis in enumerate(axes):
            if place >= len(names):
                axis.set_axis_off()
                continue
            shown = [name for name in (names[place], f"{VALIDATION}{names[place]}") if name in drawn]
            _panel(axis, names[place], shown, curves, over)
        if len(curves) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
        if not names:
            figure.text(0.5, 0.5, "no steps: nothing to draw", ha="center", va="center")
        stream = io.BytesIO()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {"Software": None})
        figure.savefig(stream, format=kind, metadata=undated)
    return stream.getvalue()


def _panel(axis: object, title: str, names: Sequence[str], curves: Sequence[Curve], over: str) -> None:
    for place, curve in enumerate(curves):
        colour, style = COLOURS[place % len(COLOURS)], STYLES[place // len(COLOURS) % len(STYLES)]
        for name in names:
            points = [(row[over], row[name]) for row in curve.rows if name in row and over in row]
            validation = name.startswith(VALIDATION)
            axis.plot(  # type: ignore[attr-defined]
                *zip(*points, strict=True) if points else ((), ()),
                color=colour,
                linestyle="none" if validation else style,
                marker="o" if validation else "." if len(points) == 1 else None,
                markersize=3,
                linewidth=1.2,
                label="_" if validation and name != names[0] else curve.name,
            )
    also = f" (● {names[-1]})" if names[-1].startswith(VALIDATION) else ""
    axis.set_title(f"{title}{also}", loc="left", parse_math=False)  # type: ignore[attr-defined]
    axis.set_xlabel(over)  # type: ignore[attr-defined]
    axis.spines[["top", "right"]].set_visible(False)  # type: ignore[attr-defined]
    axis.grid(alpha=0.25, linewidth=0.5)  # type: ignore[attr-defined]
