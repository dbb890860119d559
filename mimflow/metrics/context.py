"""What a metric is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity.metric_fid import fid_input_id_to_statistics_cached
from torch_fidelity.utils import extract_featuresdict_from_input_id_cached

from mimflow.features.extractors import Extractor

BATCH_SIZE = 64
"""Images that pass through the extractor at once: torch-fidelity's default."""


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

    Features are extracted once, when first asked for.
    Features of the reference, their mean and their covariance are kept below `cache` under `reference_name`
    and the extractor's name. Both have to name content, because torch-fidelity's cache looks at nothing else.
    It is read back with pickle, so only its owner may enter the folder.
    """

    samples: np.ndarray
    """(N, H, W, C) uint8."""
    labels: np.ndarray
    """(N,) the classes that the samples were drawn for, −1 for none."""
    reference: np.ndarray
    """(M, H, W, C) uint8; the originals of reconstructions, in their order."""
    reference_name: str
    """A hash of the reference's content, fit for a file's name."""
    extractor: Extractor
    cache: Path
    device: torch.device
    reference_mirrored: np.ndarray | None = None
    """(M,) bool which of the reference are looked at left to right; None for none of them."""

    def __post_init__(self) -> None:
        self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.extractor.module.to(self.device)

    @cached_property
    def sample_features(self) -> dict[str, Tensor]:
        """Features (N, F) and logits (N, K) of the samples, by layer, on the CPU."""
        return extract_featuresdict_from_input_id_cached(1, self.extractor.module, **self._options)

    @cached_property
    def reference_features(self) -> dict[str, Tensor]:
        """Features (M, F) and logits (M, K) of the reference, by layer, on the CPU."""
        return extract_featuresdict_from_input_id_cached(2, self.extractor.module, **self._options)

    @cached_property
    def reference_statistics(self) -> dict[str, np.ndarray]:
        """`mu` (F,) and `sigma` (F, F) of the reference's features."""
        module, layer = self.extractor.module, self.extractor.features
        return fid_input_id_to_statistics_cached(2, module, layer, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        """torch-fidelity's keyword arguments. Samples have no cache name: they are measured once."""
        return {
            "input1": ImageRows(self.samples),
            "input2": ImageRows(self.reference, self.reference_mirrored),
            "input2_cache_name": self.reference_name,
            "cache_root": str(self.cache),
            "cuda": self.device.type == "cuda",
            "batch_size": BATCH_SIZE,
            "save_cpu_ram": True,  # also: no worker processes, which only cost time for arrays
            "verbose": False,
        }
