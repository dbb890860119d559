"""A reference on disk: statistics of its features in the ADM evaluator's form, and features where metrics need them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimflow.artifacts.manifest import Artifact

if TYPE_CHECKING:  # A plan reads the names below, and starts faster without numpy.
    import numpy as np

STATISTICS = "statistics.npz"
"""Mean and covariance of features, as the ADM evaluator, pytorch-fid and torch-fidelity read them."""
FEATURES = "features.npy"
"""The features (N, F) float32 of every image, in the images' order."""
ORDER = "order.npy"
"""The images by what they show, (N,): the order in which metrics that draw subsets are given the features."""
MOMENTS = ("mu", "sigma")
"""What the mean (F,) and the covariance (F, F) of pooled features are called."""
SPATIAL_MOMENTS = ("mu_s", "sigma_s")
"""The same of spatial features, which the sFID compares."""


@dataclass(frozen=True)
class Gaussian:
    """Mean `mu` (F,) and covariance `sigma` (F, F) of features, float64."""

    mu: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True)
class ReferenceFacts:
    """What a reference is of, and which extractor looked at it."""

    extractor: str
    """Its name, which hashes all that its features depend on."""
    count: int | None = None
    """Images; None where a file gives statistics and does not say of how many."""
    device: str = "cpu"


def write_statistics(path: Path, pooled: Any, spatial: Any | None) -> None:
    """Write `mu` and `sigma` of pooled features, and `mu_s` and `sigma_s` of spatial ones where there are any."""
    from mimflow.artifacts.npz import add_array, write_npz

    def fill(archive: zipfile.ZipFile) -> None:
        for names, moments in ((MOMENTS, pooled), (SPATIAL_MOMENTS, spatial)):
            if moments is not None:
                add_array(archive, names[0], moments.mu)
                add_array(archive, names[1], moments.sigma)

    write_npz(path, fill)


def read_statistics(artifact: Artifact) -> tuple[Gaussian, Gaussian | None]:
    """The statistics of pooled and of spatial features, the file verified."""
    import numpy as np

    with np.load(artifact.file(STATISTICS), allow_pickle=False) as archive:
        pooled, spatial = (
            Gaussian(archive[mu], archive[sigma]) if mu in archive else None for mu, sigma in (MOMENTS, SPATIAL_MOMENTS)
        )
    assert pooled is not None
    return pooled, spatial


def write_features(path: Path, pieces: Iterable[np.ndarray], count: int) -> None:
    """Write features from pieces (B, F) float32 of them: one piece is in memory at a time."""
    import numpy as np

    with path.open("wb") as stream:
        for piece in pieces:
            if not stream.tell():
                header: Mapping[str, Any] = {
                    "descr": np.lib.format.dtype_to_descr(piece.dtype),
                    "fortran_order": False,
                    "shape": (count, piece.shape[1]),
                }
                np.lib.format.write_array_header_1_0(stream, dict(header))
            stream.write(piece.tobytes())


def read_features(artifact: Artifact) -> np.ndarray:
    """The features (N, F) float32, verified, by what their images show."""
    import numpy as np

    features: np.ndarray = np.load(artifact.file(FEATURES), mmap_mode="r")[np.load(artifact.file(ORDER))]
    return features
