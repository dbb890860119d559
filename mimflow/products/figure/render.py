"""The files of a figure: vector and pixels, and the values that were drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from mimflow.artifacts.cells import to_cell
from mimflow.plan import paths
from mimflow.products.figure import style
from mimflow.products.figure.product import FigureProduct

FORMATS = ("svg", "pdf", "png")


def render_figure(figure: FigureProduct) -> dict[str, bytes]:
    """The contents of a figure's files by path, with the results that are there.

    Raises ArtifactError for corrupt results, SpecError for what is wrong with a user's function.
    """
    from matplotlib.figure import Figure

    with style.styled():
        inches = style.WIDTHS[figure.spec.width]
        canvas = Figure(figsize=(inches, style.PANEL_HEIGHT), dpi=style.DPI, layout="constrained")
        drawn = figure.drawing.draw(canvas)
        style.write_out_logarithms(canvas)
        title = style.wrapped(figure.spec.title, inches, 8.5)
        canvas.suptitle(title, x=0.01, ha="left")
        style.add_height(canvas, 0.15 * (title.count("\n") + 1))
        if drawn.remarks:
            text = "\n".join(style.wrapped(remark, inches, style.SMALL) for remark in drawn.remarks)
            canvas.supxlabel(text, x=0.01, ha="left", fontsize=style.SMALL)
            style.add_height(canvas, 0.11 * (text.count("\n") + 1))
        # All formats have one layout, which takes longer than to draw it.
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")
        named = style.drawable(figure.spec.title)
        pictures = {kind: style.saved(canvas, kind, named if kind != "png" else figure.spec.title) for kind in FORMATS}
    files = {paths.product_file(figure.name, kind): data for kind, data in pictures.items()}
    return files | {paths.product_file(figure.name, "csv"): values_text(drawn.values).encode()}


def values_text(values: Sequence[Mapping[str, object]]) -> str:
    """Values as CSV, a line each; a text that a spreadsheet would run has an apostrophe before it."""
    names = list(dict.fromkeys(name for value in values for name in value))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([to_cell(value.get(name)) for name in names] for value in values)
    return stream.getvalue()
