"""A picture of samples: one row a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.utils import make_grid

from mimflow.artifacts.manifest import write_atomically
from mimflow.artifacts.samples import Shards

COLUMNS = 8
"""Samples of each class."""
ROWS = 10
"""Classes at most: the first ones."""
PADDING = 2
"""White pixels around an image, before enlarging."""
LEAST_WIDTH = 600
"""Tiny images are enlarged, by a whole factor and without smoothing, until the picture is so wide."""


def write_grid(path: Path, shards: Shards, labels: np.ndarray) -> None:
    """Write the first samples of each class as a PNG; samples without a class fill the rows in order.

    A class of fewer samples leaves the rest of its row white.
    """
    positions = _positions(labels)
    cells = np.full((*positions.shape, *shards.image), 255, np.uint8)
    for index, batch in enumerate(shards.batches):
        here = (positions >= batch.start) & (positions < batch.stop)
        if here.any():
            images = shards.read(index)
            cells[here] = images[positions[here] - batch.start]
    tiles = torch.from_numpy(cells).flatten(0, 1).permute(0, 3, 1, 2)
    grid = make_grid(tiles, nrow=COLUMNS, padding=PADDING, pad_value=255)
    picture = Image.fromarray(grid.permute(1, 2, 0).numpy())
    factor = -(-LEAST_WIDTH // picture.width)
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def _positions(labels: np.ndarray) -> np.ndarray:
    """Which sample stands where, (rows, COLUMNS); −1 for none."""
    classes = np.unique(labels)[:ROWS]
    if len(classes) == 1:
        chosen = np.arange(min(len(labels), COLUMNS * COLUMNS))
        rows = [chosen[start : start + COLUMNS] for start in range(0, len(chosen), COLUMNS)]
    else:
        rows = [np.flatnonzero(labels == label)[:COLUMNS] for label in classes]
    positions = np.full((len(rows), COLUMNS), -1)
    for row, found in zip(positions, rows, strict=True):
        row[: len(found)] = found
    return positions
