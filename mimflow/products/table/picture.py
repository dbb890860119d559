"""A picture of samples: a strip for each run and output, pixels as they are."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

MOST = 20
"""Images in a strip."""
ACROSS = 10
"""Images in a line of a strip, about."""
SIDE = 64
"""Pixels of an image at least, where a whole factor reaches that."""
LARGEST = 128
"""Pixels of an image at most; larger ones are scaled down."""
GAP, MARGIN, TEXT = 2, 12, 22
DPI = 100
CHARACTER = 7
"""Pixels that a character takes, about."""


@dataclass(frozen=True)
class Strip:
    """Some images (N, H, W, C) uint8 in lines of `across`, under a title."""

    title: str
    images: np.ndarray
    across: int


def read_strip(path: Path, title: str) -> Strip:
    """The first samples of each class, the same number of each; of many classes, some evenly spaced ones.

    Reads the images one after the other: all of them need not fit into memory.
    """
    with zipfile.ZipFile(path) as archive:
        with archive.open("arr_1.npy") as stream:
            labels = np.lib.format.read_array(stream)
        places, across = _choose(labels)
        with archive.open("arr_0.npy") as stream:
            np.lib.format.read_magic(stream)
            (_, *shape), _, dtype = np.lib.format.read_array_header_1_0(stream)
            size = int(np.prod(shape)) * dtype.itemsize
            wanted, found = set(places), {}
            for place in range(max(places) + 1):
                pixels = stream.read(size)
                if place in wanted:
                    found[place] = np.frombuffer(pixels, dtype).reshape(shape)
    return Strip(title, np.stack([found[place] for place in places]), across)


def _choose(labels: np.ndarray) -> tuple[list[int], int]:
    """Which samples, class by class within a round, and how many in a line."""
    classes, counts = np.unique(labels, return_counts=True)
    classes = classes[np.linspace(0, len(classes) - 1, min(len(classes), MOST)).round().astype(int)]
    each = min(MOST // len(classes), int(counts[np.isin(np.unique(labels), classes)].min()))
    chosen = [np.flatnonzero(labels == label)[:each] for label in classes]
    across = len(classes) * max(1, ACROSS // len(classes)) if len(classes) <= ACROSS else -(-len(classes) // 2)
    return [int(place) for turn in zip(*chosen, strict=True) for place in turn], across


def picture(strips: list[Strip]) -> bytes:
    """The strips one below the other as PNG, the same bytes for the same samples."""
    grids = [_grid(strip) for strip in strips]
    titles = [len(strip.title) * CHARACTER for strip in strips]
    width = max([grid.shape[1] for grid in grids] + titles, default=30 * CHARACTER) + 2 * MARGIN
    height = sum(len(grid) + TEXT + MARGIN for grid in grids) + MARGIN if grids else 2 * MARGIN + TEXT
    # A user's matplotlibrc must not change the bytes.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        top = height - MARGIN
        for strip, grid in zip(strips, grids, strict=True):
            figure.text(
                MARGIN / width, (top - TEXT / 2) / height, strip.title, fontsize=9, va="center", parse_math=False
            )
            top -= TEXT + len(grid)
            # Not an axes' image: nothing is resampled.
            figure.figimage(grid, xo=MARGIN, yo=top, origin="upper")
            top -= MARGIN
        if not strips:
            figure.text(0.5, 0.5, "no samples yet", fontsize=9, ha="center", va="center")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _grid(strip: Strip) -> np.ndarray:
    """The images of a strip in lines with gaps, (H, W, 3) uint8."""
    tiles = [_tile(image) for image in strip.images]
    side_y, side_x, _ = tiles[0].shape
    lines = -(-len(tiles) // strip.across)
    columns = min(strip.across, len(tiles))
    grid = np.full((lines * (side_y + GAP) - GAP, columns * (side_x + GAP) - GAP, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        y, x = place // strip.across * (side_y + GAP), place % strip.across * (side_x + GAP)
        grid[y : y + side_y, x : x + side_x] = tile
    return grid


def _tile(image: np.ndarray) -> np.ndarray:
    """An image as RGB, enlarged by a whole factor or scaled down."""
    rgb = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    size = max(rgb.shape[:2])
    if size > LARGEST:
        shape = (round(rgb.shape[1] * LARGEST / size), round(rgb.shape[0] * LARGEST / size))
        return np.asarray(Image.fromarray(rgb).resize(shape, Image.Resampling.LANCZOS))
    factor = max(1, SIDE // size)
    return rgb.repeat(factor, axis=0).repeat(factor, axis=1)
