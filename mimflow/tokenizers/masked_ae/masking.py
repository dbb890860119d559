"""Which patches are hidden from the encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.init import trunc_normal_

from mimflow.nn.draws import Draws
from mimflow.tokenizers.masked_ae.spec import TruncatedNormalMask, UniformMask

ROUNDING = 1e-9
"""How far above a whole number a product of patches and ratio may be by rounding alone."""


def draw_mask(spec: TruncatedNormalMask | UniformMask, batch: int, patches: int, draws: Draws | None = None) -> Tensor:
    """(batch, patches) bool on the CPU, True = hidden: ⌈patches · ratio⌉ of each sample's, in a random order.

    From torch's default generator on the CPU, so that a run hides the same patches on every device; or from `draws`,
    a ratio for each image even where the spec draws one for a batch, since no image knows the others.
    """
    if draws is None:
        ratios = draw_ratios(spec, batch if spec.per == "sample" else 1)
        places = torch.rand(batch, patches)
    else:
        ratios = torch.cat([draw_ratios(spec, 1, generator) for generator in draws.generators])
        places = draws.uniform(patches)
    counts = torch.tensor([math.ceil(patches * ratio - ROUNDING) for ratio in ratios.tolist()])
    return places.argsort(1) < counts[:, None]


def draw_ratios(
    spec: TruncatedNormalMask | UniformMask, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """(count,) float64 mask ratios."""
    ratios = torch.empty(count, dtype=torch.float64)
    if isinstance(spec, UniformMask):
        return ratios.uniform_(spec.low, spec.high, generator=generator)
    mean = spec.high if spec.mean is None else spec.mean
    return trunc_normal_(ratios, mean, spec.std, spec.low, spec.high, generator)


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
