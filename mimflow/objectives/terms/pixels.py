"""Distances of pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mimflow.objectives.terms.spec import Reconstruction


def pixel_distance(reconstructions: Tensor, images: Tensor, spec: Reconstruction) -> Tensor:
    """Mean squared or absolute difference of images (B, C, H, W) in [−1, 1], in the range that the spec names."""
    scale = 0.5 if spec.range == "unit" else 1.0
    distance = F.mse_loss if spec.loss == "l2" else F.l1_loss
    return distance(reconstructions.float() * scale, images.float() * scale)
