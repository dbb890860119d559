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


def cells(shards: Shards, positions: np.ndarray) -> np.ndarray:
    """The samples at those positions, (rows, columns, H, W, C) uint8; white where there is none."""
    found = np.full((*positions.shape, *shards.row), 255, np.uint8)
    for index, batch in enumerate(shards.batches):
        here = (positions >= batch.start) & (positions < batch.stop)
        if here.any():
            images = shards.read(index)
            found[here] = images[positions[here] - batch.start]
    return found


def write_grid(path: Path, images: np.ndarray) -> None:
    """Write images (rows, columns, H, W, C) uint8 as a PNG."""
    tiles = torch.from_numpy(images).flatten(0, 1).permute(0, 3, 1, 2)
    grid = make_grid(tiles, nrow=images.shape[1], padding=PADDING, pad_value=255)
    picture = Image.fromarray(grid.permute(1, 2, 0).numpy())
    factor = -(-LEAST_WIDTH // picture.width)
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
