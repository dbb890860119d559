"""Sines and cosines of times and places (Vaswani et al., arXiv 1706.03762; DiT, arXiv 2212.09748)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LONGEST = 10_000.0
"""The base of the frequencies: they fall from 1 to almost its inverse."""
FREQUENCY_FEATURES = 256
"""Sines and cosines of a time."""
TIME_STD = 0.02
"""Spread of the fresh weights behind them."""


def sinusoid(values: Tensor, features: int) -> Tensor:
    """Numbers (…,) → (…, features): their cosines at `features / 2` frequencies, then the sines."""
    half = features // 2
    frequencies = torch.exp(-math.log(LONGEST) / half * torch.arange(half, device=values.device, dtype=values.dtype))
    angles = values[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def grid_sinusoid(grid: tuple[int, int], features: int) -> Tensor:
    """(rows · columns, features) of the places of a grid in raster order: half of them of the row, half of the column.

    `features` is a multiple of 4.
    """
    rows, columns = (axis.flatten().float() for axis in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    return torch.cat([sinusoid(rows, features // 2), sinusoid(columns, features // 2)], dim=-1)


class TimeEmbedding(nn.Module):
    """Times to vectors: sinusoid, linear, SiLU, linear. Times are multiplied by `scale` first."""

    def __init__(self, width: int, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.hidden = nn.Linear(FREQUENCY_FEATURES, width)
        self.out = nn.Linear(width, width)
        for linear in (self.hidden, self.out):
            nn.init.normal_(linear.weight, std=TIME_STD)
            nn.init.zeros_(linear.bias)

    def forward(self, t: Tensor) -> Tensor:
        """(…,) → (…, width)."""
        features = sinusoid(self.scale * t, FREQUENCY_FEATURES).to(self.hidden.weight.dtype)
        return self.out(nn.functional.silu(self.hidden(features)))
