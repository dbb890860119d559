"""Measuring the scale of a tokenizer's latents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.objectives.base import Batch, ClosedForm
from mimflow.objectives.spec import LatentScaleSpec
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


class LatentScale(ClosedForm):
    """Sets the tokenizer's scale from its latents in one pass; its loss is the mean square of scaled ones."""

    def __init__(self, spec: LatentScaleSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        self.scale = 1.0

    def fit(self, batches: Iterable[Batch]) -> None:
        """`tokenizer.fit_scale` on the images (B, C, H, W) of all batches."""
        with evaluating(self.tokenizer):
            self.scale = self.tokenizer.fit_scale(batch.images for batch in batches)

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """1 and the square of the mean, over the split that was measured; logs that mean, and the scale."""
        latents, _ = self.tokenizer.encode_for_training(batch.images, masked=False)
        return latents.square().mean(), {"latent_mean": latents.mean(), "scale": torch.tensor(self.scale)}
