"""How a network is told the noise level of what it sees."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mimflow.nn.affine import at_least_fp32

PERIOD = 10_000.0
"""Between the highest and the lowest frequency."""


class NoiseLevelEmbedding(nn.Module):
    """Fourier features of the logarithm of a noise level, then two linear maps with an exact GELU between them.

    Frequency k of n = ⌊width / 2⌋ is 10000^(−k / n); an odd width is filled up with a zero (iTARFlow,
    arXiv 2604.20041).
    """

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, level: Tensor) -> Tensor:
        """Standard deviations (…,), above 0 → (…, width); the angles are computed in at least fp32."""
        half = self.width // 2
        exponents = torch.arange(half, device=level.device, dtype=at_least_fp32(level).dtype) / half
        angles = at_least_fp32(level).log()[..., None] * torch.exp(-math.log(PERIOD) * exponents)
        features = torch.cat([angles.sin(), angles.cos()], dim=-1)
        features = nn.functional.pad(features, (0, self.width - 2 * half))
        return self.down(nn.functional.gelu(self.up(features)))
