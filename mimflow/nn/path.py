"""Paths between noise and data, x_t = α(t) x₁ + σ(t) x₀: t = 0 is noise x₀, t = 1 data x₁ (SiT, arXiv 2401.08740)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PathName = Literal["linear", "gvp"]
"""`linear`: α = t, σ = 1 − t. `gvp`, which keeps the variance: α = sin(πt/2), σ = cos(πt/2)."""


class PathCoefficients(NamedTuple):
    """The coefficients of a path at times t and their rates of change; four tensors of the shape of t."""

    alpha: Tensor
    """Share of the data."""
    sigma: Tensor
    """Share of the noise."""
    alpha_rate: Tensor
    """dα/dt."""
    sigma_rate: Tensor
    """dσ/dt."""

    def mix(self, data: Tensor, noise: Tensor) -> Tensor:
        """x_t."""
        return self.alpha * data + self.sigma * noise

    def velocity(self, data: Tensor, noise: Tensor) -> Tensor:
        """dx_t/dt for these ends: its mean given x_t is what a model learns."""
        return self.alpha_rate * data + self.sigma_rate * noise

    def score(self, x: Tensor, velocity: Tensor) -> Tensor:
        """∇ log p_t(x) from the marginal velocity at x (SiT, section 2); singular at t = 1.

        On the linear path it is (t v − x) / (1 − t).
        """
        # v and x give the mean noise (α' x − α v) / (α' σ − α σ'), and the score is its negative over σ.
        wronskian = self.alpha_rate * self.sigma - self.alpha * self.sigma_rate
        return (self.alpha * velocity - self.alpha_rate * x) / (self.sigma * wronskian)


def path_coefficients(path: PathName, t: Tensor) -> PathCoefficients:
    """The coefficients of a path at times t."""
    if path == "linear":
        one = torch.ones_like(t)
        return PathCoefficients(t, 1 - t, one, -one)
    angle = 0.5 * math.pi * t
    return PathCoefficients(angle.sin(), angle.cos(), 0.5 * math.pi * angle.cos(), -0.5 * math.pi * angle.sin())
