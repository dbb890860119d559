"""What is measured on images' spectra, at borders of patches, and in bands; definitions stand with the specs."""

from __future__ import annotations

import numpy as np
import torch

from mimflow.artifacts.curves import Curve
from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spectra.power import parts, power, rings
from mimflow.metrics.spectra.spec import BandErrorSpec, ImageSpectrumSpec, MseSpec, PatchArtifactsSpec
from mimflow.nn.box import box_mean

HIGH = 0.25
"""Cycles a pixel: half of the Nyquist frequency."""
LEAST_PATCHES = 4
"""Patches along a side below which too few frequencies lie between multiples of the patch frequency."""


def image_spectrum(spec: ImageSpectrumSpec, context: ImageComparison) -> dict[str, MetricValue | Curve]:
    """Beside that of what they are compared with."""
    images, reference = context.images
    frequencies, own = rings(_mean_power(images))
    _, theirs = rings(_mean_power(reference))
    curves = {"image_spectrum": Curve(frequencies, own), "reference_spectrum": Curve(frequencies, theirs)}
    if not ((own > 0).all() and (theirs > 0).all()):
        return {name: MetricValue(None, reason="some frequencies have no power") for name in spec.reports} | curves
    decibels = 10 * np.log10(own / theirs)
    high = decibels[frequencies > HIGH]
    return {
        "spectrum_error": MetricValue(float(np.abs(decibels).mean())),
        "spectrum_high": MetricValue(float(high.mean()))
        if len(high)
        else MetricValue(None, reason="no ring of the images is above 0.25"),
        **curves,
    }


def patch_artifacts(spec: PatchArtifactsSpec, context: ImageComparison) -> dict[str, MetricValue | Curve]:
    """Of the images and of what they are compared with."""
    found: dict[str, MetricValue | Curve] = {}
    for suffix, images in zip(("", "_reference"), context.images, strict=True):
        found |= {f"{name}{suffix}": value for name, value in _patch_traces(images, spec.patch_size).items()}
    return found


def _patch_traces(images: np.ndarray, patch_size: int) -> dict[str, MetricValue | Curve]:
    side = images.shape[1]
    if side % patch_size or side == patch_size:
        reason = f"images of {side} pixels have no borders between patches of {patch_size}"
        return {name: MetricValue(None, reason=reason) for name in ("blockiness", "patch_peak")}
    profile, spectrum = _differences(images, patch_size)
    places = np.arange(1, side)
    border, inside = profile[places % patch_size == 0].mean(), profile[places % patch_size != 0].mean()
    found: dict[str, MetricValue | Curve] = {
        "blockiness": MetricValue(float(border / inside))
        if inside > 0
        else MetricValue(None, reason="pixels do not differ inside of patches")
    }
    frequencies = np.arange(1, len(spectrum)) / (side - patch_size)
    return found | {
        "patch_peak": _peak(spectrum, patch_size, side // patch_size - 1),
        "difference_spectrum": Curve(frequencies, spectrum[1:]),
    }


def _differences(images: np.ndarray, patch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Absolute differences of neighbours, rows and columns and all images (N, H, W, C) together: two arrays.

    Their mean (side − 1,) by the place of the second pixel; and the mean power of each line of them at the frequencies
    k / n, k from 0 to n / 2, of its first n = side − patch_size: a whole number of patches.
    """
    side = images.shape[1]
    length = side - patch_size
    profile, spectrum, lines = np.zeros(side - 1), np.zeros(length // 2 + 1), 0
    for some in parts(images):
        pixels = some.astype(np.float64) / 255
        for axis in (1, 2):
            steps = np.moveaxis(np.abs(np.diff(pixels, axis=axis)), axis, -1).reshape(-1, side - 1)
            profile += steps.sum(0)
            spectrum += power(steps[:, :length], 1)[:, : length // 2 + 1].sum(0)
            lines += len(steps)
    return profile / lines, spectrum / lines


def _peak(spectrum: np.ndarray, patch_size: int, spacing: int) -> MetricValue:
    """Multiples of the patch frequency are `spacing` bins of the spectrum apart, with the background between."""
    if spacing + 1 < LEAST_PATCHES:
        return MetricValue(None, reason=f"fewer than {LEAST_PATCHES} patches along a side")
    numbers = np.arange(len(spectrum))
    decibels = []
    for multiple in range(spacing, len(spectrum), spacing):
        around = (np.abs(numbers - multiple) < spacing) & (numbers % spacing != 0)
        background = np.median(spectrum[around])
        if not background > 0:
            return MetricValue(None, reason="the frequencies around the patches' have no power")
        decibels.append(10 * np.log10(max(spectrum[multiple], np.finfo(float).tiny) / background))
    return MetricValue(float(np.mean(decibels)))


def mse(spec: MseSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Over all pixels of all images."""
    images, originals = context.pairs
    pairs = zip(parts(images), parts(originals), strict=True)
    total = sum(float(np.square((some.astype(np.float64) - others) / 255).sum()) for some, others in pairs)
    return {"mse": MetricValue(total / images.size)}


def band_error(spec: BandErrorSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Filters are linear: those of the images' difference are the differences of the filtered images."""
    low = high = 0.0
    images, originals = context.pairs
    for some, others in zip(parts(images), parts(originals), strict=True):
        difference = torch.from_numpy((some.astype(np.float64) - others) / 255).permute(0, 3, 1, 2)
        smooth = box_mean(difference, spec.window)
        low += float(smooth.square().sum())
        high += float((difference - smooth).square().sum())
    size = images.size
    return {"mse_low": MetricValue(low / size), "mse_high": MetricValue(high / size)}


def _mean_power(images: np.ndarray) -> np.ndarray:
    """The power (H, W) of images (N, H, W, C) uint8, pixels in [0, 1], averaged over channels and images."""
    total = sum(power(some.transpose(0, 3, 1, 2) / 255, 2).mean(1).sum(0) for some in parts(images))
    return np.asarray(total) / len(images)
