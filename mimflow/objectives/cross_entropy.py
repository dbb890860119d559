"""Classification of the images."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.spec import CrossEntropySpec
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


class CrossEntropy(Objective):
    """Mean cross-entropy of the classifier's logits in nats; logs the share that is classified right."""

    def __init__(self, spec: CrossEntropySpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        self.label_smoothing = spec.label_smoothing

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per image; labels are smoothed in training mode only."""
        _, logits = self.system.module("classifier")(batch.images)
        smoothing = self.label_smoothing if self.training else 0.0
        loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=smoothing)
        accuracy = (logits.argmax(1) == batch.labels).double().mean()
        return loss, {"accuracy": accuracy}
