"""Images whose features are known, and the context to measure them in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from mimflow.features.extractors import Extractor
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec

SCALE = 32
"""Grey levels to one unit of `PixelFeatures`."""


class PixelFeatures(FeatureExtractorBase):
    """Pixels as features, centred and scaled, and as logits; every other one as spatial features.

    Images are made to have the features wanted.
    """

    def __init__(self, name: str, features_list: list[str], scale: float = SCALE, **options: object):
        super().__init__(name, features_list)
        self.scale = scale

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pixels = images.flatten(1).float() - 128
        found = {"features": pixels / self.scale, "logits": pixels, "spatial": pixels[:, ::2] / self.scale}
        return tuple(found[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits", "spatial"


class BrokenFeatures(PixelFeatures):
    """Features that are not finite where an image's first pixel is white."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        white = images[:, 0, 0, 0] == 255
        return tuple(torch.where(white[:, None], torch.nan, features) for features in super().forward(images))


def pixel_extractor(
    module: type[PixelFeatures] = PixelFeatures, name: str = "pixels", scale: float = SCALE
) -> Extractor:
    return Extractor(
        module(name, ["features", "logits", "spatial"], scale),
        features="features",
        logits="logits",
        spatial="spatial",
        classifies=True,
        facts={},
    )


def context_of(
    samples: np.ndarray,
    reference: np.ndarray,
    cache: Path,
    labels: np.ndarray | None = None,
    extractor: Extractor | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> ImageComparison:
    return ImageComparison(
        samples,
        np.zeros(len(samples), np.int64) if labels is None else labels,
        reference,
        hashlib.sha256(reference.tobytes()).hexdigest()[:16],
        extractor or pixel_extractor(),
        cache,
        torch.device("cpu"),
        say,
    )


def measure(spec: MetricSpec, context: ImageComparison) -> dict[str]:
    return METRICS.build(spec, context)


def value(spec: MetricSpec, context: ImageComparison, name: str | None = None) -> float:
    measurement = measure(spec, context)[name or spec.kind]
    assert measurement.value is not None, measurement.reason
    return measurement.value


def as_images(features: np.ndarray) -> np.ndarray:
    """Square grey images whose `PixelFeatures` are these (N, side²), to half a grey level."""
    side = math.isqrt(features.shape[1])
    pixels = np.rint(features * SCALE + 128).clip(0, 255).astype(np.uint8)
    return pixels.reshape(-1, side, side, 1)


def gaussian_images(count: int, dimensions: int, seed: int, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return as_images(mean + std * random.standard_normal((count, dimensions)))


def one_hot_images(labels: np.ndarray, side: int = 4) -> np.ndarray:
    """Images of one white pixel, at the label's place, on black: logits that are certain of it."""
    return (255 * np.eye(side * side, dtype=np.uint8)[labels]).reshape(-1, side, side, 1)
