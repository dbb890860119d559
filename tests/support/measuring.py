"""Images whose features are known, and the context to measure them in."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from artifacts import store_artifact
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.reference import Gaussian
from mimflow.features.extractors import Extractor
from mimflow.metrics.context import ImageComparison, KnownReference, batches_of_features, content_order
from mimflow.metrics.images import ArrayImages
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec
from mimflow.progress import Progress
from mimflow.stages import reference
from mimflow.tasks import EvaluateTask, ReferenceTask

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
    others: np.ndarray,
    labels: np.ndarray | None = None,
    extractor: Extractor | None = None,
) -> ImageComparison:
    """A comparison with other images, which are the originals too."""
    extractor = extractor or pixel_extractor()
    return ImageComparison(
        samples,
        np.zeros(len(samples), np.int64) if labels is None else labels,
        extractor,
        torch.device("cpu"),
        known_of(others, extractor),
        others,
    )


def known_of(images: np.ndarray, extractor: Extractor) -> KnownReference:
    """A reference of these images: NumPy's mean and covariance of their features."""
    digests: list[bytes] = []
    batches = list(batches_of_features(extractor, ArrayImages(images), torch.device("cpu"), digests))
    order, layers = content_order(digests), (extractor.features, extractor.spatial or extractor.features)
    found = {layer: torch.cat([batch[layer] for batch in batches])[order] for layer in layers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one image has no covariance
        pooled, spatial = (_gaussian(found[layer]) for layer in layers)
    return KnownReference(len(images), pooled, spatial, found[extractor.features])


def _gaussian(features: torch.Tensor) -> Gaussian:
    return Gaussian(features.double().mean(0).numpy(), np.cov(features.double().numpy(), rowvar=False))


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


def reference_of(task: EvaluateTask, inputs: Mapping[str, Artifact], folder: Path, features: bool = True) -> Artifact:
    """What stage `reference` makes of the reference of an evaluation, in the store."""
    assert task.extractor is not None and task.reference is not None
    made = ReferenceTask(
        shapes=task.shapes,
        reference=task.reference,
        extractor=task.extractor,
        extractor_system=task.extractor_system,
        features=features,
        compute=task.compute,
    )
    read = {role: artifact for role, artifact in inputs.items() if role in ("data", "extractor")}
    facts = reference.run(made, read, folder, Progress("reference", stream=io.StringIO()))
    return store_artifact(folder / "out", stage="reference", name="reference", facts=facts)
