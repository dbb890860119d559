"""Alignment of tokens with a frozen network's features (REPA, Yu et al. 2025; MAETok's `repeat`)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.objectives.terms.spec import Alignment
from mimflow.objectives.terms.supervision import Distance, Supervision


def match_lengths(tokens: Tensor, places: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """A sequence (B, T, F) of tokens and one (B, N, F) of places → both in the same length.

    `repeat`: token i stands for places i N / T … (i + 1) N / T − 1. `average`: the longer is pooled to the other's.
    """
    count, wanted = tokens.shape[1], places.shape[1]
    if mode == "repeat":
        return tokens.repeat_interleave(wanted // count, dim=1), places
    return _pooled(tokens, min(count, wanted)), _pooled(places, min(count, wanted))


def _pooled(sequence: Tensor, length: int) -> Tensor:
    if sequence.shape[1] == length:
        return sequence
    return F.adaptive_avg_pool1d(sequence.transpose(1, 2), length).transpose(1, 2)


class Projector(nn.Sequential):
    """Linear maps with SiLU between them: (…, first width) → (…, last width)."""

    def __init__(self, widths: list[int]):
        layers: list[nn.Module] = []
        for left, right in pairwise(widths):
            layers += [nn.SiLU(), nn.Linear(left, right)]
        super().__init__(*layers[1:])


class Aligner(Supervision):
    """Projects tokens and compares them with a network's features."""

    def __init__(self, spec: Alignment, width: int, tokens: int):
        super().__init__(spec, tokens if spec.mode == "repeat" else min(tokens, spec.network.side**2))
        self.spec = spec
        self.projector = Projector([width, *spec.projector, spec.network.channels])

    def forward(self, tokens: Tensor, features: Tensor) -> Distance:
        """Tokens (B, T, width) and features (B, side², channels) → mean of −cos over places."""
        projected, wanted = match_lengths(self.projector(tokens).float(), self.targets(features), self.spec.mode)
        own = -F.cosine_similarity(projected, wanted, dim=-1).mean()
        return Distance(own, self.of_constant(wanted).mean())
