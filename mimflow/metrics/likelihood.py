"""Likelihoods in the field's units, and what would show that sampling has a hand in them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mimflow.artifacts.likelihood import LikelihoodFacts
from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.likelihood_spec import LikelihoodCheckSpec, LikelihoodMetricSpec


@dataclass(frozen=True)
class Densities:
    """Likelihoods of N images at L noise levels, one where the prior has none: what these metrics are given."""

    facts: LikelihoodFacts
    log_likelihood: np.ndarray
    """(N, L) in nats, of all of an image's latents together."""
    noise_entropy: np.ndarray
    """(N, L) in nats, of the latents given their image; NaN where nothing about them is random."""
    squared_error: np.ndarray
    """(N, L) mean over pixels in [−1, 1], of what is decoded from the noisy latents."""

    @property
    def nats(self) -> np.ndarray:
        """(L,) −log p in nats per latent dimension, a mean over images."""
        found: np.ndarray = -self.log_likelihood.mean(0) / self.facts.dimensions
        return found

    @property
    def rates(self) -> np.ndarray:
        """(L,) −log p less the entropy of the noise, in nats of an image, a mean over images."""
        found: np.ndarray = -(self.log_likelihood + self.noise_entropy).mean(0)
        return found


def likelihood(spec: LikelihoodMetricSpec, given: Densities) -> dict[str, MetricValue]:
    """The numbers of the spec; over several noise levels their means, and the negative log-likelihood at either end."""
    broken = int((~np.isfinite(given.log_likelihood)).any(1).sum())
    if broken:
        reason = f"log-likelihoods of {broken} of {len(given.log_likelihood)} images are not finite"
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    facts, nats = given.facts, given.nats
    levels = "the density is of one noise, and of no noise levels" if not facts.levels else None
    # Of a level's width in [−1, 1], dequantisation is noise of a known entropy: the rate is the code's length.
    pixels = None if facts.noise == "uniform" else "only of images under uniform dequantisation"
    random = None if np.isfinite(given.rates).all() else "latents without noise have no finite rate"
    return {
        "nll": MetricValue(float(nats.mean())),
        "nll_lowest": _unless(levels, nats[0]),
        "nll_highest": _unless(levels, nats[-1]),
        "bpd": _unless(pixels, given.rates.mean() / facts.dimensions / math.log(2)),
        "rate": _unless(random, given.rates.mean() / facts.dimensions),
        "rate_bits": _unless(random, given.rates.mean() / facts.pixels / math.log(2)),
        "distortion": MetricValue(float(given.squared_error.mean())),
    }


def likelihood_check(spec: LikelihoodCheckSpec, given: Densities) -> dict[str, MetricValue]:
    """The numbers of the spec, where the output was asked for them."""
    check = given.facts.check
    if check is None:
        reason = "the output was not asked for a check"
        return {name: MetricValue(None, reason=reason) for name in spec.reports}
    return {
        "denoiser_effect": _finite(check.difference),
        "round_trip": _finite(check.round_trip),
        "round_trip_noise": _finite(check.round_trip_noise),
        "changed_tensors": MetricValue(float(check.changed)),
    }


def _unless(reason: str | None, value: float) -> MetricValue:
    return MetricValue(float(value)) if reason is None else MetricValue(None, reason=reason)


def _finite(value: float | None) -> MetricValue:
    return MetricValue(value, reason="not finite" if value is None else None)
