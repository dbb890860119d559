"""Which patches are hidden from the encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.init import trunc_normal_

from mimflow.tokenizers.masked_ae.spec import TruncatedNormalMask, UniformMask

ROUNDING = 1e-9
"""How far above a whole number a product of patches and ratio may be by rounding alone."""


def draw_mask(spec: TruncatedNormalMask | UniformMask, batch: int, patches: int) -> Tensor:
    """(batch, patches) bool on the CPU, True = hidden: ⌈patches · ratio⌉ of each sample's, in a random order.

    Draws come from torch's default generator on the CPU, so that a run hides the same patches on every device.
    """
    ratios = draw_ratios(spec, batch if spec.per == "sample" else 1)
    counts = torch.tensor([math.ceil(patches * ratio - ROUNDING) for ratio in ratios.tolist()])
    ranks = torch.rand(batch, patches).argsort(1)
    return ranks < counts[:, None]


def draw_ratios(spec: TruncatedNormalMask | UniformMask, count: int) -> Tensor:
    """(count,) float64 mask ratios."""
    ratios = torch.empty(count, dtype=torch.float64)
    if isinstance(spec, UniformMask):
        return ratios.uniform_(spec.low, spec.high)
    mean = spec.high if spec.mean is None else spec.mean
    return trunc_normal_(ratios, mean, spec.std, spec.low, spec.high)


def visible(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is left where hidden patches are dropped, of a mask (B, patches).

    Indices (B, K) in raster order, K being the most that any sample sees, and (B, K) bool which of them are visible,
    the others being padding; None where all are.
    """
    counts = (~mask).sum(1, keepdim=True)
    most = int(counts.max())
    kept = mask.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    real = torch.arange(most, device=mask.device) < counts
    return kept, None if bool(real.all()) else real
