"""Fitting a prior by the moments of the latents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.objectives.base import Batch, ClosedForm
from mimflow.objectives.nll import nll_per_dimension


class Moments(ClosedForm):
    """Fits the prior to the tokenizer's latents in one pass; its loss is the nll of latents without noise."""

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """`prior.fit` on the latents (B, tokens, channels) and labels (B,) of all batches."""
        fit = cast(ClassGaussian, self.prior).fit
        with evaluating(self.tokenizer):
            fit((self.tokenizer.encode(batch.images), batch.labels) for batch in batches)

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per dimension, ½ log 2π dropped."""
        return nll_per_dimension(self.prior(self.tokenizer.encode(batch.images), batch.labels))
