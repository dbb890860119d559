"""Likelihoods on disk: `likelihood.npz`, of every image of a split at every noise level."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # A plan reads the names below, and starts faster without numpy.
    import numpy as np

LIKELIHOOD = "likelihood.npz"
QUANTITIES = ("log_likelihood", "noise_entropy", "squared_error")
"""Of each image (N,) at each noise level (L,), float64: log p of its noisy latents in nats, over all dimensions and
constants included; the entropy in nats of these latents given the image, NaN where nothing about them is random; the
mean squared error of what is decoded from them, pixels in [−1, 1]."""


@dataclass(frozen=True)
class CheckFacts:
    """What sampling did to the likelihood, and how exactly the flow is inverted: largest differences over images.

    None where one is not finite.
    """

    count: int
    """Images that were looked at again."""
    difference: float | None
    """Between log-likelihoods in nats per dimension: before any sampling, after samples that were not denoised, and
    after samples that were."""
    round_trip: float | None
    """|f⁻¹(f(x)) − x| over the images' latents."""
    round_trip_noise: float | None
    """|f(f⁻¹(z)) − z| over noise."""
    changed: int
    """Tensors of the system that sampling left otherwise than they were."""


@dataclass(frozen=True)
class LikelihoodFacts:
    """How likelihoods were computed."""

    count: int
    split: str
    noise: str
    """Its kind."""
    dimensions: int
    """Of an image's latents."""
    pixels: int
    """Of an image, times its channels."""
    parameters: str
    """SHA-256 of the system's tensors, before anything was computed."""
    weights: str
    """The file that the system's weights came from."""
    device: str
    seconds: float
    """Of the attempt that ended."""
    levels: list[float] = field(default_factory=list)
    """The noise levels, where the prior has some."""
    parameters_after: str | None = None
    """The same after samples were drawn and denoised, where that was asked for."""
    check: CheckFacts | None = None


def write_likelihood(path: Path, quantities: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
    """Write the `QUANTITIES` (N, L) and the classes (N,) that images were judged given."""
    from mimflow.artifacts.npz import add_array, write_npz

    def fill(archive: zipfile.ZipFile) -> None:
        for name, values in {**quantities, "labels": labels}.items():
            add_array(archive, name, values)

    write_npz(path, fill)


def read_likelihood(path: Path) -> dict[str, np.ndarray]:
    """The `QUANTITIES` (N, L) by name."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in QUANTITIES}
