"""A picture of samples: a strip for each run and output, pixels as they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from mimflow.artifacts.pictures import fit, lay_out
from mimflow.artifacts.samples import read_labels, read_some
from mimflow.products.table.symbols import code

STRIP_IMAGES = 20
"""Images in a strip, at most."""
ACROSS = 10
"""Images in a line of a strip, about."""
SIDE = 64
"""Pixels of an image at least, where a whole factor reaches that."""
LARGEST = 128
"""Pixels of an image at most; larger ones are scaled down."""
MARGIN, TEXT = 12, 22
DPI = 100
CHARACTER = 7
"""Pixels that a character takes, about."""
TITLE = 200
"""Characters of a title at most."""
STRIPS = 60
"""Strips at most: of more the first ones, and a line that says how many there are."""


@dataclass(frozen=True)
class Strip:
    """Some images (N, H, W, C) uint8 in lines of `across`, under a title."""

    title: str
    images: np.ndarray
    across: int


def read_strip(path: Path, title: str) -> Strip:
    """The first samples of each class, the same number of each; of many classes, some evenly spaced ones."""
    places, across = _choose(read_labels(path))
    return Strip(title, read_some(path, places), across)


def _choose(labels: np.ndarray) -> tuple[list[int], int]:
    """Which samples, class by class within a round, and how many in a line."""
    classes, counts = np.unique(labels, return_counts=True)
    classes = classes[np.linspace(0, len(classes) - 1, min(len(classes), STRIP_IMAGES)).round().astype(int)]
    each = min(STRIP_IMAGES // len(classes), int(counts[np.isin(np.unique(labels), classes)].min()))
    chosen = [np.flatnonzero(labels == label)[:each] for label in classes]
    across = len(classes) * max(1, ACROSS // len(classes)) if len(classes) <= ACROSS else -(-len(classes) // 2)
    return [int(place) for turn in zip(*chosen, strict=True) for place in turn], across


def picture(strips: list[Strip], more: int = 0) -> bytes:
    """The strips one below the other as PNG, the same bytes for the same samples; `more` are only counted."""
    import matplotlib
    from matplotlib.figure import Figure

    texts = [_drawable(strip.title) for strip in strips]
    grids = [lay_out([fit(image, SIDE, LARGEST) for image in strip.images], strip.across) for strip in strips]
    titles = [len(text) * CHARACTER for text in texts]
    width = max([grid.shape[1] for grid in grids] + titles, default=30 * CHARACTER) + 2 * MARGIN
    height = sum(len(grid) + TEXT + MARGIN for grid in grids) + MARGIN if grids else 2 * MARGIN + TEXT
    if more:
        texts.append(f"{more} more, which are not shown")
        height += TEXT
    # A user's matplotlibrc must not change the bytes.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        top = height - MARGIN
        for text, grid in zip_longest(texts, grids):
            figure.text(MARGIN / width, (top - TEXT / 2) / height, text, fontsize=9, va="center", parse_math=False)
            if grid is not None:
                top -= TEXT + len(grid)
                # Not an axes' image: nothing is resampled.
                figure.figimage(grid, xo=MARGIN, yo=top, origin="upper")
                top -= MARGIN
        if not strips:
            figure.text(0.5, 0.5, "no images here", fontsize=9, ha="center", va="center")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _drawable(title: str) -> str:
    """A title as matplotlib's own font can draw it, the same on every machine: `U+4E2D` for what it lacks."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    text = "".join(each if font.get_char_index(ord(each)) else f"[{code(each)}]" for each in title)
    return text if len(text) <= TITLE else f"{text[: TITLE - 1]}…"
