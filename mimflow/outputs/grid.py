"""A picture of samples: one row a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimflow.artifacts.pictures import GAP, WHITE, enlarge, lay_out, write_png
from mimflow.artifacts.rows import Rows

COLUMNS = 8
"""Samples of each class."""
ROWS = 10
"""Classes at most: the first ones."""
LEAST_WIDTH = 600
"""Tiny images are enlarged, by a whole factor and without smoothing, until the picture is so wide."""


def choose(labels: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Which sample stands where, (rows, columns): a row a class, or in order where there is only one; −1 for none."""
    classes = np.unique(labels)[:ROWS]
    if len(classes) == 1:
        chosen = np.arange(min(len(labels), columns * COLUMNS))
        rows = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]
    else:
        rows = [np.flatnonzero(labels == label)[:columns] for label in classes]
    positions = np.full((len(rows), columns), -1)
    for row, found in zip(positions, rows, strict=True):
        row[: len(found)] = found
    return positions


def cells(images: Rows, positions: np.ndarray) -> np.ndarray:
    """The samples at those positions, (rows, columns, H, W, C) uint8; white where there is none."""
    found = np.full((*positions.shape, *images.shape[1:]), WHITE, np.uint8)
    for index in range(images.count):
        piece = images.piece(index)
        here = (positions >= piece.start) & (positions < piece.stop)
        if here.any():
            found[here] = images.read(index)[positions[here] - piece.start]
    return found


def write_grid(path: Path, images: np.ndarray) -> None:
    """Write images (rows, columns, H, W, C) uint8 as a PNG."""
    grid = lay_out(list(images.reshape(-1, *images.shape[2:])), images.shape[1], margin=GAP)
    write_png(path, enlarge(grid, -(-LEAST_WIDTH // grid.shape[1])))
