"""Memory that the FID of many samples in an archive takes against given statistics, features as wide as Inception's.

`python benchmarks/evaluation_memory.py` prints megabytes at the peak for 50,000 samples of 64×64; another number of
samples, side and width may be given: `… 10000 32 512`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from mimflow.artifacts.provenance import peak_memory_mb
from mimflow.artifacts.reference import Gaussian
from mimflow.artifacts.samples import write_samples
from mimflow.contents.given import look
from mimflow.features.extractors import Extractor
from mimflow.metrics.context import ImageComparison, KnownReference
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import FidSpec
from mimflow.outputs.drawing import Samples
from mimflow.system.spec import Shapes

PIECE = 1000
"""Images that are made at once."""


class Projection(FeatureExtractorBase):  # type: ignore[misc]
    """A fixed random projection of the pixels: as wide as a real extractor, and fast."""

    def __init__(self, pixels: int, width: int):
        super().__init__("projection", ["features", "logits"])
        self.weights = torch.randn(pixels, width, generator=torch.Generator().manual_seed(0)) / pixels**0.5

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 images (B, C, H, W) → features and logits (B, width)."""
        features = (images.flatten(1).float() / 127.5 - 1) @ self.weights
        return features, features

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"


def measure(folder: Path, count: int, side: int, width: int) -> tuple[float, float]:
    """The FID of `count` random images against the standard normal, and the process's peak memory in MB."""
    shapes = Shapes(channels=3, size=side, num_classes=1)
    random = np.random.default_rng(0)

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, count, PIECE):
            yield random.integers(256, size=(min(PIECE, count - start), side, side, 3), dtype=np.uint8)

    path = folder / "samples.npz"
    write_samples(path, pieces(), np.zeros(count, np.int64), (side, side, 3))
    images, labels = look(path, None, shapes, Samples(count=count))
    extractor = Extractor(Projection(3 * side**2, width), "features", "logits", classifies=False, facts={})
    reference = KnownReference(None, Gaussian(np.zeros(width), np.eye(width)))
    context = ImageComparison(images, labels, extractor, torch.device("cpu"), reference)
    value = METRICS.build(FidSpec(), context)["fid"].value
    return value, peak_memory_mb()


def main() -> None:
    """Print a line for the numbers of the command line, or for 50,000 samples of 64×64 and 2,048 features."""
    count, side, width = map(int, sys.argv[1:] or ("50000", "64", "2048"))
    with tempfile.TemporaryDirectory() as folder:
        value, peak = measure(Path(folder), count, side, width)
    print(f"{count:,} samples of {side}×{side}, {width:,} features: {peak:,.0f} MB at the peak, FID {value:.2f}")


if __name__ == "__main__":
    main()
