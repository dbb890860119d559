"""The look of all figures, in one place: for print at column width, for any colour vision, and for grey.

Every picture is the same bytes for the same content: no user's matplotlibrc, no dates, no random ids. Labels are text:
nothing in them is mathematics.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mimflow.products.table.symbols import code

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which people with any colour vision can tell apart."""
STYLES = ("-", "--", ":", "-.")
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
SMALL = 6.0
"""Points of what stands beside marks and under a figure; everything else has 8."""
DPI = 200
"""Of PNG files."""
PARAMETERS: Mapping[str, Any] = {
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

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams |= PARAMETERS
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
    across = min(count, PANELS[width])
    lines = -(-count // across)
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


def log_scale(axis: Axes, which: str) -> None:
    """A logarithmic axis whose numbers are written out: `0.1`, `1`, `10`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set(**{f"{which}scale": "log"})
    scale = axis.xaxis if which == "x" else axis.yaxis
    scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(NullFormatter())


def nothing(figure: Figure, text: str) -> None:
    """What stands in the place of a panel that has nothing to show."""
    figure.text(0.5, 0.5, text, ha="center", va="center")
