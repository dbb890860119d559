"""Regression of a prior's velocity on latents as a tokenizer makes them (SiT, arXiv 2401.08740)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.nll import drop_labels
from mimflow.objectives.spec import VelocitySpec
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


class VelocityRegression(Objective):
    """The velocity prior's own loss; logs `velocity`. Labels are dropped in training mode only."""

    def __init__(self, spec: VelocitySpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        self.spec = spec

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error over dimensions, of whole images' latents."""
        latents = self.latents(batch)
        drop = self.spec.label_drop if self.training else 0.0
        labels = drop_labels(batch.labels, drop) if drop else batch.labels
        loss, figures, _ = self.prior.training_loss(add_noise(latents, self.spec.noise), labels)
        return loss, figures
