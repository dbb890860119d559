"""The look of all figures, in one place: for print at column width, for any colour vision, and for grey.

Every picture is the same bytes for the same content: no user's matplotlibrc, no dates, no random ids. Labels are text:
nothing in them is mathematics.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mimflow.products.curves import COLOURS, STYLES
from mimflow.products.table.symbols import code

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Besides colours, so that curves can be told apart in grey."""
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "oo", "----")
"""The same of bars."""
WIDTHS = {"column": 3.3, "page": 6.9}
"""Inches of a column of a two-column page, and of both."""
PANELS = {"column": 1, "page": 3}
"""Panels side by side at most."""
PANEL_HEIGHT = 2.1
"""Inches of a panel with its labels."""
NARROW, WIDE = 0.8, 2.5
"""Decades of a logarithmic axis: up to which its numbers are even ones, and from which on they are powers of ten."""
FEW, ROOM = 6, 0.12
"""Points that a logarithmic axis has its numbers at, at most, and the share of the axis that lies between two."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALL = 6.0
"""Points of what stands beside marks and under a figure; everything else has 8."""
DPI = 200
"""Of PNG files."""
PARAMETERS: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "figure.titlesize": 8,
    "figure.titleweight": "bold",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "mimflow",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "savefig.dpi": DPI,
}
_METADATA: Mapping[str, Mapping[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""What would say when and by which version a picture was made."""


@contextmanager
def styled() -> Iterator[None]:
    """Within it matplotlib draws as all figures are drawn, whatever the user's own settings are."""
    import matplotlib
    from cycler import cycler

    # What a user's own function draws without saying how looks like all else.
    turns = [STYLES[place % len(STYLES)] for place in range(len(COLOURS))]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams |= PARAMETERS
        matplotlib.rcParams["axes.prop_cycle"] = cycler(color=COLOURS, linestyle=turns)
        yield


def saved(figure: Figure, kind: str, title: str | None = None) -> bytes:
    """The bytes of a figure as svg, pdf or png, with its title as metadata."""
    stream = io.BytesIO()
    titled = {} if title is None else {"Title": title}
    figure.savefig(stream, format=kind, metadata={**_METADATA[kind], **titled})
    return stream.getvalue()


def look(place: int) -> dict[str, Any]:
    """Colour, line and marker of the curve at a place; after as many as there are colours, other lines."""
    turn, colour = divmod(place, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "linestyle": STYLES[(place + turn) % len(STYLES)],
        "marker": MARKERS[(place + turn) % len(MARKERS)],
    }


def filling(place: int) -> dict[str, Any]:
    """Colour and hatching of the bars at a place."""
    drawn = {"color": COLOURS[place % len(COLOURS)], "hatch": HATCHES[place % len(HATCHES)]}
    return {**drawn, "edgecolor": "white", "linewidth": 0}


def drawable(text: str, most: int = 200) -> str:
    """A text on one line as matplotlib's own font can draw it, the same on every machine: `[U+4E2D]` for what it lacks.

    Longer ones than `most` characters are cut.
    """
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    words = " ".join(text.split())
    shown = "".join(each if font.get_char_index(ord(each)) else f"[{code(each)}]" for each in words)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def wrapped(text: str, inches: float, points: float) -> str:
    """A text in lines that fit so many inches, about: a character of the font is 0.6 of its size wide at most."""
    return "\n".join(textwrap.wrap(drawable(text, 600), max(10, int(inches * 72 / (0.58 * points)))))


def panels(figure: Figure, count: int, width: str) -> list[Axes]:
    """So many panels, as many side by side as the width takes; the figure gets the height that they need."""
    lines = -(-count // PANELS[width])
    across = -(-count // lines)  # four are two by two
    figure.set_size_inches(WIDTHS[width], PANEL_HEIGHT * lines)
    axes = list(figure.subplots(lines, across, squeeze=False).flatten())
    for axis in axes[count:]:
        axis.set_axis_off()
    return axes[:count]


def add_height(figure: Figure, inches: float) -> None:
    """Make a figure taller, for what stands around its panels."""
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + inches)


def legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend under all panels, if there is more than one thing to tell apart."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if len(found) < 2:
        return
    longest = max(map(len, found))
    columns = max(1, min(4, len(found), int(figure.get_figwidth() / (0.062 * longest + 0.45))))
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)
    add_height(figure, 0.15 * -(-len(found) // columns) + 0.1)


def write_below(figure: Figure, sentences: Sequence[str]) -> None:
    """Small sentences under everything else, legends too, for which the figure grows."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    text = "\n".join(sentences)
    inches = 0.11 * (text.count("\n") + 1) + 0.06
    add_height(figure, inches)
    share = inches / figure.get_figheight()
    figure.text(0.01, 0.3 * share / (text.count("\n") + 1), text, fontsize=SMALL, va="bottom").set_in_layout(False)
    # The layout leaves room for sentences or a legend at the edge, not for one above the other.
    tallest = max((each.get_window_extent().height / figure.dpi + 0.08 for each in figure.legends), default=0.0)
    for each in figure.legends:
        each.set_bbox_to_anchor((0.0, share, 1.0, 1.0 - share), figure.transFigure)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):  # a user's own function may have chosen another
        bottom = share + tallest / figure.get_figheight()
        engine.set(rect=(0.0, bottom, 1.0, 1.0 - bottom))


def logarithmic(axes: Axes, x: bool, y: bool) -> list[str]:
    """Make axes logarithmic, along which anything is above 0; a sentence for each that has values, and none there."""
    remarks = []
    for asked, which, least, values in (
        (x, "x", axes.dataLim.minposx, axes.dataLim.intervalx),
        (y, "y", axes.dataLim.minposy, axes.dataLim.intervaly),
    ):
        if asked and math.isfinite(least):
            axes.set(**{f"{which}scale": "log"})
        elif asked and all(map(math.isfinite, values)):
            remarks.append(f"Nothing is above 0 along {which}: the axis is not logarithmic.")
    return remarks


def number_points(axes: Axes, places: Iterable[float]) -> None:
    """Number a logarithmic axis along x at its points, where they are few enough to leave the numbers room."""
    from matplotlib.ticker import FuncFormatter

    found = sorted(set(places))
    if axes.get_xscale() != "log" or not 1 < len(found) <= FEW or found[0] <= 0:
        return
    whole = math.log(found[-1] / found[0])
    if min(math.log(high / low) for low, high in pairwise(found)) >= ROOM * whole:
        axes.set_xticks(found)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: raised(value)))


def write_out_logarithms(figure: Figure) -> None:
    """Give logarithmic axes numbers without mathematics, `0.1`, `10`, `10⁻⁵`: matplotlib's own would be its markup.

    Axes that have a formatter of their own keep it.
    """
    from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, MaxNLocator, NullFormatter

    for axis in (each for axes in figure.axes for each in (axes.xaxis, axes.yaxis)):
        if not isinstance(axis.get_major_formatter(), LogFormatterMathtext):
            continue
        low, high = sorted(axis.get_view_interval())
        decades = math.log10(high / low) if low > 0 else math.inf
        if decades < NARROW:
            axis.set_major_locator(MaxNLocator(4))
        else:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < WIDE else (1.0,), numticks=6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: raised(value)))
        axis.set_minor_formatter(NullFormatter())


def raised(value: float) -> str:
    """A number of a logarithmic axis: `0.02`, `500`, `2×10⁵`, `10⁻⁷`."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = "10" + str(int(exponent)).translate(_RAISED)
    return power if float(mantissa) == 1 else f"{float(mantissa):g}×{power}"


def nothing(figure: Figure, text: str) -> None:
    """What stands in the place of a panel that has nothing to show."""
    figure.text(0.5, 0.5, text, ha="center", va="center")
