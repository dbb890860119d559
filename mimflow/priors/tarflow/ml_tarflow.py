"""Checkpoints of apple/ml-tarflow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import LatentShape
from mimflow.weights.apple import matched

LAYOUT = "ml-tarflow"


def ml_tarflow_state(
    public: Mapping[str, Tensor], spec: TarflowSpec, latent: LatentShape, num_classes: int
) -> dict[str, Tensor]:
    """A state dict of apple/ml-tarflow as the one of `Tarflow(spec, latent, num_classes)`.

    Raises ArtifactError that names missing, unexpected and mis-shaped tensors.
    """
    with torch.device("meta"):
        ours = Tarflow(spec, latent, num_classes).state_dict()
    return matched(LAYOUT, public, ours)
