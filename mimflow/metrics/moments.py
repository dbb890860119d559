"""Mean and covariance of features that arrive in batches: memory does not grow with the number of images."""

from __future__ import annotations

from typing import Any

import numpy as np


class Moments:
    """Count, mean and scatter of features (B, F), in float64, updated batch by batch (Chan et al. 1982, Eq. 2.1).

    Deviations are taken from each batch's own mean, so that features far from zero lose no digits. The order of images
    and the size of batches change results by rounding alone, about 1e-15 of their size.
    """

    def __init__(self, width: int):
        self.count = 0
        self.mu = np.zeros(width)
        """Mean (F,)."""
        self.scatter = np.zeros((width, width))
        """Σ (x − mean)(x − mean)ᵀ, (F, F)."""

    def add(self, features: Any) -> None:
        """Take in a batch of features (B, F): an array, or a tensor on the CPU."""
        rows = np.asarray(features, np.float64)
        if not len(rows):
            return
        mean = rows.mean(0)
        deviations = rows - mean
        self._take(len(rows), mean, deviations.T @ deviations)

    def merge(self, other: Moments) -> None:
        """Take in all that another has seen."""
        if other.count:
            self._take(other.count, other.mu, other.scatter)

    @property
    def sigma(self) -> np.ndarray:
        """Unbiased covariance (F, F), by n − 1; not finite for fewer than two images."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(self.scatter, np.float64(self.count - 1))

    def _take(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        with np.errstate(invalid="ignore", over="ignore"):  # features may not be finite: metrics say so
            delta = mean - self.mu
            self.scatter += scatter
            self.scatter += np.outer(delta, delta * (self.count * count / total))
            self.mu = self.mu + delta * (count / total)
        self.count = total
