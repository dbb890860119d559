"""Curves on disk: `curves.npz` beside `metrics.json`, what a metric found as a function, for figures."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.npz import add_array, write_npz

CURVES = "curves.npz"


@dataclass(frozen=True)
class Curve:
    """Values (K,) float64 of a function at places (K,), which ascend."""

    places: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        if self.places.shape != self.values.shape or self.places.ndim != 1:
            raise ValueError(f"a curve of {self.places.shape} places and {self.values.shape} values")


def write_curves(folder: Path, curves: Mapping[str, Curve]) -> None:
    """Write curves below `folder` as `NAME.places` and `NAME.values`; no file where there are none."""
    if not curves:
        return

    def fill(archive: zipfile.ZipFile) -> None:
        for name, curve in curves.items():
            add_array(archive, f"{name}.places", curve.places.astype(np.float64))
            add_array(archive, f"{name}.values", curve.values.astype(np.float64))

    write_npz(folder / CURVES, fill)


def read_curves(artifact: Artifact) -> dict[str, Curve]:
    """The curves of an evaluation by name, the file verified; none of one that found no curve."""
    if CURVES not in artifact.manifest.files:
        return {}
    with np.load(artifact.file(CURVES), allow_pickle=False) as archive:
        names = [name.removesuffix(".places") for name in archive.files if name.endswith(".places")]
        return {name: Curve(archive[f"{name}.places"], archive[f"{name}.values"]) for name in names}
