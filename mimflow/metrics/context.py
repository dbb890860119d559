"""What a metric is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity.utils import get_featuresdict_from_dataset

from mimflow.features.extractors import Extractor
from mimflow.metrics.moments import Moments
from mimflow.weights.stored import remembered

BATCH_SIZE = 64
"""Images that pass through the extractor at once: torch-fidelity's default."""
MOMENTS_ROWS = 4096
"""Features that are in memory in float64 at once."""


class ImageRows(Dataset[Tensor]):
    """Images (N, H, W, C) uint8, in memory or on disk, as torch-fidelity takes them: uint8 (C, H, W).

    Those that are `mirrored` (N,) bool are turned left to right.
    """

    def __init__(self, images: np.ndarray, mirrored: np.ndarray | None = None):
        self.images = images
        self.mirrored = mirrored

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index]
        if self.mirrored is not None and self.mirrored[index]:
            image = image[:, ::-1]
        return torch.from_numpy(image.copy()).permute(2, 0, 1)


@dataclass(frozen=True)
class FeatureSplit:
    """Features (N, F) float32 and classes (N,) of a split's images."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class RepresentedSplits:
    """A representation of both splits: what metrics of features are given."""

    train: FeatureSplit
    val: FeatureSplit
    num_classes: int
    device: torch.device


@dataclass(frozen=True)
class ImageComparison:
    """Images, what they are compared with, and the extractor of one evaluation.

    Features are extracted once, when first asked for. Those of the reference are kept below `cache` under
    `reference_name` and the extractor's name, and read back where their digest is right. Both have to name content:
    nothing else tells one file from another.
    """

    samples: np.ndarray
    """(N, H, W, C) uint8."""
    labels: np.ndarray
    """(N,) the classes that the samples were drawn for, −1 for none."""
    reference: np.ndarray
    """(M, H, W, C) uint8; the originals of reconstructions, in their order."""
    reference_name: str
    """A hash of the reference's content and of what computes its features, fit for a file's name."""
    extractor: Extractor
    cache: Path
    device: torch.device
    say: Callable[[str], None]
    """Told of kept features that can't be used."""
    reference_mirrored: np.ndarray | None = None
    """(M,) bool which of the reference are looked at left to right; None for none of them."""

    def __post_init__(self) -> None:
        self.extractor.module.to(self.device)

    @cached_property
    def sample_order(self) -> Tensor:
        """(N,) the samples by what they show: the order of `sample_features`."""
        return content_order(ImageRows(self.samples))

    @cached_property
    def sample_features(self) -> dict[str, Tensor]:
        """Features (N, F) and logits (N, K) of the samples, by layer, on the CPU; rows are in `sample_order`."""
        return self._features(ImageRows(self.samples), self.sample_order)

    @cached_property
    def reference_features(self) -> dict[str, Tensor]:
        """Features (M, F) and logits (M, K) of the reference, by layer, on the CPU, in an order of their own."""
        return remembered(
            self.cache / f"{self.reference_name}-{self.extractor.name}.safetensors",
            {"reference": self.reference_name, "extractor": self.extractor.name},
            self._reference_features,
            self.say,
        )

    def reference_moments(self, layer: str) -> Moments:
        """Mean and covariance of the reference's features of a layer."""
        return moments(self.reference_features[layer])

    def _reference_features(self) -> dict[str, Tensor]:
        images = ImageRows(self.reference, self.reference_mirrored)
        return self._features(images, content_order(images))

    def _features(self, images: ImageRows, order: Tensor) -> dict[str, Tensor]:
        """torch-fidelity's features of images, by layer, on the CPU; rows in this order."""
        # To save the CPU's memory also means: no worker processes, which only cost time for arrays.
        found = get_featuresdict_from_dataset(
            images,
            self.extractor.module,
            batch_size=BATCH_SIZE,
            cuda=self.device.type == "cuda",
            save_cpu_ram=True,
            verbose=False,
        )
        return {layer: features[order] for layer, features in found.items()}


def content_order(images: ImageRows) -> Tensor:
    """(N,) images by the digests of their pixels: metrics that draw subsets do not depend on the order they come in."""
    digests = [hashlib.blake2b(images[row].numpy().tobytes(), digest_size=16).digest() for row in range(len(images))]
    return torch.tensor(sorted(range(len(digests)), key=digests.__getitem__), dtype=torch.int64)


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features (N, F), in float64."""
    found = Moments(features.shape[1])
    for rows in features.split(MOMENTS_ROWS):
        found.add(rows)
    return found
