"""Latents on disk: `latents.npz`, what an encoder makes of a split's images or what a prior draws."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # A plan reads the name below, and starts faster without numpy.
    import numpy as np

    from mimflow.artifacts.rows import Rows

LATENTS = "latents.npz"


@dataclass(frozen=True)
class LatentsFacts:
    """How latents were made from a trained system."""

    count: int
    shape: tuple[int, ...]
    """Of one image's: (C, H, W) on a grid, (T, D) without one."""
    weights: str
    """The file that the system's weights came from."""
    device: str
    seconds: float
    """Of the attempt that ended."""


def write_latents(path: Path, rows: Rows, labels: np.ndarray) -> None:
    """Write `latents` float32 (N, C, H, W) or (N, T, D) and `labels` int64 (N,), −1 for none.

    Only one piece is in memory at a time.
    """
    from mimflow.artifacts.npz import add_array, add_rows, write_npz

    def fill(archive: zipfile.ZipFile) -> None:
        add_rows(archive, "latents", rows, rows.shape, rows.dtype)
        add_array(archive, "labels", labels)

    write_npz(path, fill)


def read_latents(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The latents float32 (N, C, H, W) or (N, T, D) and labels (N,) int64 of a `latents.npz`."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return archive["latents"], archive["labels"]
