"""Pictures of images: tiles in lines with white gaps, as every picture of ours lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mimflow.artifacts.manifest import write_atomically

WHITE = 255
GAP = 2
"""White pixels between tiles."""


def lay_out(tiles: Sequence[np.ndarray], across: int, margin: int = 0) -> np.ndarray:
    """Images (h, w, 1 or 3) uint8 of one size in lines of `across`, `margin` pixels around it all: (H, W, 3) uint8."""
    height, width, _ = tiles[0].shape
    lines, columns = -(-len(tiles) // across), min(across, len(tiles))
    shape = (lines * (height + GAP) - GAP + 2 * margin, columns * (width + GAP) - GAP + 2 * margin, 3)
    picture = np.full(shape, WHITE, np.uint8)
    for place, tile in enumerate(tiles):
        y, x = margin + place // across * (height + GAP), margin + place % across * (width + GAP)
        picture[y : y + height, x : x + width] = tile
    return picture


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """An image (h, w, C) with every pixel a square of `factor`: nothing is smoothed."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def fit(image: np.ndarray, least: int, most: int) -> np.ndarray:
    """An image (h, w, 1 or 3) uint8 as RGB, its longer side `least` to `most` pixels where a whole factor reaches that.

    Smaller ones are enlarged by a whole factor, larger ones scaled down smoothly.
    """
    rgb = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    size = max(rgb.shape[:2])
    if size > most:
        shape = (round(rgb.shape[1] * most / size), round(rgb.shape[0] * most / size))
        return np.asarray(Image.fromarray(rgb).resize(shape, Image.Resampling.LANCZOS))
    return enlarge(rgb, max(1, least // size))


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8, the same bytes for the same pixels."""
    image = Image.fromarray(picture)
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))
