"""What a metric is given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.reference import Gaussian
from mimflow.features.extractors import Extractor
from mimflow.metrics.images import ArrayImages, Images
from mimflow.metrics.moments import Moments

BATCH_SIZE = 64
"""Images that pass through the extractor at once: torch-fidelity's default. No spec can change it, so that numbers do
not depend on it."""
MOMENTS_ROWS = 4096
"""Features that are in memory in float64 at once."""


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

    def against(self, reference: KnownReference) -> RepresentedSplits:
        """The same: nothing is compared."""
        return self


@dataclass(frozen=True)
class KnownReference:
    """What is known of a reference: statistics of its features, and these themselves where a metric needs them."""

    count: int | None
    """Images; None where a file gives statistics and does not say of how many."""
    pooled: Gaussian
    spatial: Gaussian | None = None
    """Of the spatial features that the sFID compares; None where there are none."""
    features: Tensor | None = None
    """(M, F) float32 of every image, on the CPU; None where no metric needs them."""


def batches_of_features(
    extractor: Extractor, images: Images, device: torch.device, digests: list[bytes]
) -> Iterator[dict[str, Tensor]]:
    """What the extractor makes of images, batch by batch: (B, F) by layer, on the CPU.

    Appends to `digests` what stands for the pixels of each image.
    """
    module = extractor.module.to(device)
    for batch in images.batches(BATCH_SIZE):
        digests += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in batch]
        with torch.no_grad():
            found = module(torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().to(device))
        yield {layer: part.cpu() for layer, part in module.convert_features_tuple_to_dict(found).items()}


def content_order(digests: list[bytes]) -> Tensor:
    """(N,) images by what they show: metrics that draw subsets do not depend on the order that images come in."""
    return torch.tensor(sorted(range(len(digests)), key=digests.__getitem__), dtype=torch.int64)


@dataclass(frozen=True)
class ImageComparison:
    """Images, what they are compared with, and the extractor of one evaluation.

    Features of the images are extracted once, when first asked for.
    """

    samples: np.ndarray | Images
    """(N, H, W, C) uint8; an array where they were made here."""
    labels: np.ndarray
    """(N,) the classes that the samples were drawn for, −1 for none."""
    extractor: Extractor
    device: torch.device
    known: KnownReference | None = None
    """The reference, for metrics that compare features; None where there are none."""
    reference: np.ndarray | None = None
    """(M, H, W, C) uint8: of reconstructions their originals, in their order; of samples the split's images."""
    images_per_second: float | None = None
    """How fast they were made; None where nobody timed it, or they were made elsewhere."""

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """What is measured, (N, H, W, C) uint8, and the images of the split that it is compared with, (M, H, W, C)."""
        assert self.reference is not None, "the plan asked for them"
        samples = self.samples
        if isinstance(samples, Images):
            samples = np.concatenate(list(samples.batches(len(samples))))
        return samples, self.reference

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Reconstructions and their originals, (N, H, W, C) uint8 each, in one order."""
        assert isinstance(self.samples, np.ndarray) and self.reference is not None, "made here, from these"
        return self.samples, self.reference

    @cached_property
    def _extracted(self) -> tuple[dict[str, Tensor], Tensor]:
        images = self.samples if isinstance(self.samples, Images) else ArrayImages(self.samples)
        found: dict[str, Tensor] = {}
        digests: list[bytes] = []
        place = 0
        for batch in batches_of_features(self.extractor, images, self.device, digests):
            for layer, part in batch.items():
                # Allocated once: to join batches at the end would take twice the memory.
                if layer not in found:
                    found[layer] = torch.empty((len(images), *part.shape[1:]), dtype=part.dtype)
                found[layer][place : place + len(part)] = part
            place += len(part)
        order = content_order(digests)
        for layer in found:
            found[layer] = found[layer][order]
        return found, order

    @property
    def sample_features(self) -> dict[str, Tensor]:
        """Features (N, F) and logits (N, K) of the samples, by layer, on the CPU; rows are in `sample_order`."""
        return self._extracted[0]

    @property
    def sample_order(self) -> Tensor:
        """(N,) the samples by what they show: the order of `sample_features`."""
        return self._extracted[1]

    @property
    def reference_features(self) -> dict[str, Tensor]:
        """Features (M, F) of the reference, by layer, on the CPU, in an order of their own."""
        assert self.known is not None and self.known.features is not None, "the plan asked for them"
        return {self.extractor.features: self.known.features}

    def reference_moments(self, layer: str) -> Gaussian | None:
        """Mean and covariance of the reference's features of a layer; None where statistics are given without them."""
        assert self.known is not None, "the plan asked for it"
        return self.known.pooled if layer == self.extractor.features else self.known.spatial

    def against(self, reference: KnownReference) -> ImageComparison:
        """The same images, whose features are extracted once for both, and another reference."""
        other = replace(self, known=reference)
        other.__dict__["_extracted"] = self._extracted
        return other


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features (N, F), in float64."""
    found = Moments(features.shape[1])
    for rows in features.split(MOMENTS_ROWS):
        found.add(rows)
    return found
