"""Noise levels in training: how they are drawn, what they weigh, and at which of them validation reports (iTARFlow)."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.spec.noise import NoiseLevels

EDM_MEAN, EDM_STD = -1.2, 1.0
"""Of log t in EDM's law (arXiv 2206.00364, Table 1)."""
REPORTED = 5
"""Levels that validation computes the likelihood at, evenly spaced from the lowest to the highest."""


def draw_levels(spec: NoiseLevels, count: int, device: torch.device) -> Tensor:
    """(count,) noise levels of the law of `spec`, in fp32, from torch's default generator."""
    if spec.law == "edm":
        return torch.exp(EDM_MEAN + EDM_STD * torch.randn(count, device=device))
    u = torch.rand(count, device=device)
    if spec.law == "linear":
        return torch.sqrt(u * (spec.t1**2 - spec.t0**2) + spec.t0**2)
    return spec.t0 + (spec.t1 - spec.t0) * u


def level_weight(spec: NoiseLevels, levels: Tensor) -> Tensor:
    """w(t) of noise levels (B,)."""
    if spec.weight == "t":
        return levels
    if spec.weight == "t_norm":
        return levels / (spec.t0 + spec.t1)
    if spec.weight == "sqr_t":
        return levels.square()
    if spec.weight == "sqr_t_norm":
        return levels.square() / (spec.t0**2 + spec.t1**2)
    return torch.ones_like(levels)


def reported_levels(spec: NoiseLevels) -> list[float]:
    """The levels of validation, from t0 to t1."""
    return [spec.t0 + (spec.t1 - spec.t0) * place / (REPORTED - 1) for place in range(REPORTED)]
