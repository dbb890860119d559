"""A representation on disk: `features.npz`, what a trained system makes of the images of both splits."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # A plan reads the name below, and starts faster without numpy.
    import numpy as np

    from mimflow.artifacts.rows import Rows

REPRESENTATION = "features.npz"


@dataclass(frozen=True)
class RepresentationFacts:
    """How a representation was computed."""

    train_count: int
    val_count: int
    features: int
    """Of an image."""
    weights: str
    """The file that the system's weights came from."""
    device: str
    seconds: float
    """Of the attempt that ended."""


def write_representation(path: Path, splits: Mapping[str, tuple[Rows, np.ndarray]]) -> None:
    """Write the features (N, F) and labels (N,) of each split as `train_features`, `train_labels`, ….

    Only one piece is in memory at a time.
    """
    from mimflow.artifacts.npz import add_array, add_rows, write_npz

    def fill(archive: zipfile.ZipFile) -> None:
        for split, (rows, labels) in splits.items():
            add_rows(archive, f"{split}_features", rows, rows.shape, rows.dtype)
            add_array(archive, f"{split}_labels", labels)

    write_npz(path, fill)


def read_representation(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The features (N, F) float32 and labels (N,) int64 of a split."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return archive[f"{split}_features"], archive[f"{split}_labels"]
