"""What is measured on latents; definitions stand with the specs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mimflow.artifacts.curves import Curve
from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.spectra.power import parts, power, radii, rings, slope
from mimflow.metrics.spectra.spec import (
    AutocorrelationSpec,
    HighFrequencySpec,
    LatentMomentsSpec,
    LatentSpectrumSpec,
    SpectralEntropySpec,
    TotalVariationSpec,
)

CUTOFFS = {"high_frequency_0125": 0.125, "high_frequency": 0.25, "high_frequency_035": 0.35}
"""Cycles a token, by the name of the number."""
LAGS = 16
"""Of sequences without a grid: as many as SimFlow's grid is wide."""
NO_GRID = MetricValue(None, reason="the latents have no grid")


@dataclass(frozen=True)
class LatentMaps:
    """Latents as metrics are given them."""

    latents: np.ndarray
    """(N, C, H, W) or, without a grid, (N, T, D); float32."""
    labels: np.ndarray
    """(N,), −1 for none."""

    @property
    def on_grid(self) -> bool:
        return self.latents.ndim == 4

    @cached_property
    def standardised(self) -> np.ndarray:
        """Channels (N, C, H, W) or (N, D, T) float32 with mean 0 and variance 1 over all latents.

        Channels that never change are left out: there may be none left.
        """
        channels = self.latents if self.on_grid else self.latents.transpose(0, 2, 1)
        others = (0, *range(2, channels.ndim))
        mean = channels.mean(others, keepdims=True, dtype=np.float64)
        std = channels.std(others, keepdims=True, dtype=np.float64)
        kept = std.ravel() > 1e-6 * max(float(np.abs(channels).max()), 1e-30)
        return ((channels[:, kept] - mean[:, kept]) / std[:, kept]).astype(np.float32)

    @cached_property
    def sequences(self) -> np.ndarray:
        """The same along the sequence, tokens in raster order: (N, C, T)."""
        return self.standardised.reshape(*self.standardised.shape[:2], -1)

    @property
    def dimensions(self) -> int:
        """Over how many dimensions an image's latents extend in space: 2 on a grid."""
        return 2 if self.on_grid else 1


def latent_moments(spec: LatentMomentsSpec, context: LatentMaps) -> dict[str, MetricValue]:
    """Over all latents and dimensions together."""
    latents = context.latents
    return {
        "latent_mean": MetricValue(float(latents.mean(dtype=np.float64))),
        "latent_std": MetricValue(float(latents.std(dtype=np.float64))),
    }


def spectral_entropy(spec: SpectralEntropySpec, context: LatentMaps) -> dict[str, MetricValue]:
    """Of each channel, and of all channels' powers added up."""
    if (reason := _why_not(context)) is not None:
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    single, pooled = [], []
    for maps in parts(context.standardised):
        powers = _without_mean(power(maps, context.dimensions), context.dimensions)
        single.append(_over_channels(_entropy(powers)))
        pooled.append(_entropy(powers.sum(1)))
    return {
        "spectral_entropy": _mean(np.concatenate(single)),
        "spectral_entropy_pooled": _mean(np.concatenate(pooled)),
    }


def high_frequency(spec: HighFrequencySpec, context: LatentMaps) -> dict[str, MetricValue]:
    """At each of the cut-offs."""
    if (reason := _why_not(context)) is not None:
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    shape = context.standardised.shape[2:]
    frequencies = radii(*shape).ravel()[1:]
    shares: dict[str, list[np.ndarray]] = {name: [] for name in CUTOFFS}
    for maps in parts(context.standardised):
        powers = _without_mean(power(maps, context.dimensions), context.dimensions)
        for name, cutoff in CUTOFFS.items():
            # A frequency at the cut-off is not above it, whichever way its square root is rounded.
            above = powers[..., frequencies > cutoff + 1e-9].sum(-1)
            shares[name].append(_over_channels(_divided(above, powers.sum(-1))))
    return {name: _mean(np.concatenate(found)) for name, found in shares.items()}


def total_variation(spec: TotalVariationSpec, context: LatentMaps) -> dict[str, MetricValue]:
    """Along the sequence, along rows, and over the grid."""
    if (reason := _why_not(context)) is not None:
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    found = {"total_variation": MetricValue(_difference(context.sequences, -1))}
    if not context.on_grid:
        return {**found, "total_variation_rows": NO_GRID, "total_variation_2d": NO_GRID}
    maps = context.standardised
    if min(maps.shape[2:]) < 2:
        narrow = MetricValue(None, reason="the grid is one token wide")
        return {**found, "total_variation_rows": narrow, "total_variation_2d": narrow}
    across = _difference(maps, -1)
    return {
        **found,
        "total_variation_rows": MetricValue(across),
        "total_variation_2d": MetricValue(across + _difference(maps, -2)),
    }


def autocorrelation(spec: AutocorrelationSpec, context: LatentMaps) -> dict[str, MetricValue | Curve]:
    """Up to the width of the grid."""
    if (reason := _why_not(context)) is not None:
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    tokens = context.sequences.shape[2]
    width = context.standardised.shape[-1] if context.on_grid else LAGS
    lags = np.arange(1, min(width, tokens - 1) + 1)
    found = []
    for sequences in parts(context.sequences):
        centred = sequences.astype(np.float64)
        centred -= centred.mean(2, keepdims=True)
        total = np.square(centred).sum((1, 2))
        products = [(centred[..., :-lag] * centred[..., lag:]).sum((1, 2)) * tokens / (tokens - lag) for lag in lags]
        found.append(_divided(np.stack(products, 1), total[:, None]))
    correlations = np.concatenate(found)
    constant = np.isnan(correlations[:, 0])
    if constant.all():
        return {name: MetricValue(None, reason="every image's tokens are the same") for name in spec.reports}
    values = correlations[~constant].mean(0)
    below = MetricValue(float(values[width - 1])) if context.on_grid and len(values) >= width else NO_GRID
    return {
        "autocorrelation": MetricValue(float(values[0])),
        "autocorrelation_row": below,
        "autocorrelation_mean": MetricValue(float(values.mean())),
        "autocorrelation_curve": Curve(lags.astype(np.float64), values),
    }


def latent_spectrum(spec: LatentSpectrumSpec, context: LatentMaps) -> dict[str, MetricValue | Curve]:
    """Along the sequence, and over rings where there is a grid."""
    if (reason := _why_not(context)) is not None:
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    found = _spectrum("1d", context.sequences, 1)
    return found | (_spectrum("2d", context.standardised, 2) if context.on_grid else {"spectrum_slope_2d": NO_GRID})


def _spectrum(name: str, channels: np.ndarray, dimensions: int) -> dict[str, MetricValue | Curve]:
    total = sum(power(some, dimensions).mean(1).sum(0) for some in parts(channels))
    frequencies, powers = rings(np.asarray(total) / len(channels))
    if len(frequencies) < 2 or not (powers > 0).all():
        reason = "fewer than two frequencies have power"
        return {f"spectrum_slope_{name}": MetricValue(None, reason=reason)}
    return {
        f"spectrum_slope_{name}": MetricValue(slope(frequencies, powers)),
        f"latent_spectrum_{name}": Curve(frequencies, powers),
    }


def _why_not(context: LatentMaps) -> str | None:
    """Why nothing can be said of how latents vary in space, or None if it can."""
    broken = int((~np.isfinite(context.latents).reshape(len(context.latents), -1).all(1)).sum())
    if broken:
        return f"latents of {broken} of {len(context.latents)} images are not finite"
    if not context.standardised.shape[1]:
        return "the latents do not vary"
    return "one token has no neighbour" if context.sequences.shape[2] < 3 else None


def _without_mean(powers: np.ndarray, dimensions: int) -> np.ndarray:
    """Powers (B, C, …) of all frequencies but 0, in a row: (B, C, K)."""
    return powers.reshape(*powers.shape[:-dimensions], -1)[..., 1:]


def _entropy(powers: np.ndarray) -> np.ndarray:
    """Of powers (…, K) over its maximum ln K; NaN where there is no power."""
    shares = _divided(powers, powers.sum(-1, keepdims=True))
    terms = shares * np.log(np.where(shares > 0, shares, 1.0))
    return -terms.sum(-1) / np.log(powers.shape[-1])


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where the whole is 0."""
    return part / np.where(whole > 0, whole, np.nan)


def _over_channels(values: np.ndarray) -> np.ndarray:
    """The mean (B,) of values (B, C) over channels that have one; NaN where none has."""
    there = ~np.isnan(values)
    return _divided(np.where(there, values, 0.0).sum(1), there.sum(1))


def _mean(values: np.ndarray) -> MetricValue:
    """Over images (N,) that have a value."""
    there = values[~np.isnan(values)]
    return MetricValue(float(there.mean())) if len(there) else MetricValue(None, reason="no image varies in space")


def _difference(signals: np.ndarray, axis: int) -> float:
    """The mean absolute difference of neighbours along an axis."""
    return float(np.mean([np.abs(np.diff(signal, axis=axis)).mean(dtype=np.float64) for signal in signals]))
