"""Training curves as a picture: a panel for each figure of the log, a line for each phase."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimflow.artifacts.log import LEADING

ACROSS = 3
"""Panels in a row."""
PANEL = (3.6, 2.4)
"""Inches of a panel: width and height."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which people with any colour vision can tell apart."""
STYLES = ("-", "--", ":", "-.")
SUFFIXES = ("step", "epoch")
"""Columns that say where a row stands, and are no figures."""


@dataclass(frozen=True)
class Curve:
    """The log of a training under a name."""

    name: str
    rows: Sequence[Mapping[str, float]]


def draw_curves(curves: Sequence[Curve], *, kind: str = "png") -> bytes:
    """A picture of kind png or svg, the same bytes for the same logs: figures over steps, first `loss`."""
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for curve in curves for row in curve.rows for name in row if name not in SUFFIXES))
    names.sort(key=lambda name: (name not in LEADING, name == "lr"))
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
            _panel(axis, names[place], curves)
        if len(curves) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
        if not names:
            figure.text(0.5, 0.5, "no steps: nothing to draw", ha="center", va="center")
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return stream.getvalue()


def _panel(axis: object, name: str, curves: Sequence[Curve]) -> None:
    for place, curve in enumerate(curves):
        points = [(row["step"], row[name]) for row in curve.rows if name in row]
        colour, style = COLOURS[place % len(COLOURS)], STYLES[place // len(COLOURS) % len(STYLES)]
        marker = "." if len(points) == 1 else None
        axis.plot(  # type: ignore[attr-defined]
            *zip(*points, strict=True) if points else ((), ()),
            color=colour,
            linestyle=style,
            marker=marker,
            linewidth=1.2,
            label=curve.name,
        )
    axis.set_title(name, loc="left", parse_math=False)  # type: ignore[attr-defined]
    axis.set_xlabel("step")  # type: ignore[attr-defined]
    axis.spines[["top", "right"]].set_visible(False)  # type: ignore[attr-defined]
    axis.grid(alpha=0.25, linewidth=0.5)  # type: ignore[attr-defined]
