"""Adaptive normalisation that starts at zero: adaLN-Zero (Peebles & Xie, arXiv 2212.09748, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Modulation(nn.Module):
    """What a condition does to a layer: `count` vectors from Linear(SiLU(c)), all zero at the start."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.count = count
        self.linear = nn.Linear(width, count * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """(…, width) → `count` tensors (…, width)."""
        return self.linear(F.silu(condition)).chunk(self.count, dim=-1)


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """h (1 + scale) + shift."""
    return h * (1 + scale) + shift
