"""Fitting a prior by the moments of the latents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.objectives.base import Batch, ClosedForm
from mimflow.objectives.spec import MomentsSpec
from mimflow.priors.class_gaussian.model import ClassGaussian
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


class Moments(ClosedForm):
    """Fits the prior to the tokenizer's latents in one pass; its loss is the nll of latents without noise."""

    def __init__(self, spec: MomentsSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        assert isinstance(modules.prior, ClassGaussian), "refused by MomentsSpec.system_problems"

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """`prior.fit` on the latents (B, tokens, channels) and labels (B,) of all batches."""
        with evaluating(self.tokenizer):
            cast(ClassGaussian, self.prior).fit(
                (self.tokenizer.encode(batch.images), batch.labels) for batch in batches
            )

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per dimension, ½ log 2π dropped."""
        nll, figures, _ = self.prior.training_loss(self.tokenizer.encode(batch.images), batch.labels)
        return nll, figures
