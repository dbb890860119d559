"""How near reconstructions are to their originals, image by image."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spec import PsnrSpec, SsimSpec

PEAK = 255
SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
"""What scikit-image makes of σ 1.5: radius int(3.5 σ + 0.5) = 5."""
PART = 256
"""Images whose differences are in memory at once."""


def psnr(spec: PsnrSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """10 log₁₀(255² / MSE) in dB, and the same of the mean MSE."""
    images, originals = context.pairs
    parts = [slice(start, start + PART) for start in range(0, len(images), PART)]
    errors = np.concatenate([_squared_errors(images[part], originals[part]) for part in parts])
    if not errors.any():
        reason = "every reconstruction is exact: infinite"
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    exact = int((errors == 0).sum())
    mean = MetricValue(None, reason=f"{exact} of {len(errors)} reconstructions are exact: infinite")
    if not exact:
        mean = MetricValue(float(_decibels(errors).mean()))
    return {"psnr": mean, "psnr_pooled": MetricValue(float(_decibels(errors.mean())))}


def ssim(spec: SsimSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Structural similarity by scikit-image, with the settings that agree with Wang et al.'s own code."""
    images, originals = context.pairs
    side = min(images.shape[1:3])
    if side < SSIM_WINDOW:
        return {"ssim": MetricValue(None, reason=f"images of {side} pixels are smaller than its window of 11")}
    values = [
        structural_similarity(
            image,
            original,
            data_range=PEAK,
            channel_axis=2,
            gaussian_weights=True,
            sigma=SSIM_SIGMA,
            use_sample_covariance=False,
        )
        for image, original in zip(images, originals, strict=True)
    ]
    return {"ssim": MetricValue(float(np.mean(values)))}


def _squared_errors(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """The mean squared difference of each image, (N,)."""
    difference = images.astype(np.float64) - originals
    return np.square(difference).mean((1, 2, 3))


def _decibels(squared_error: np.ndarray) -> np.ndarray:
    return 10 * np.log10(PEAK**2 / squared_error)
