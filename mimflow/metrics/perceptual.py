"""How far reconstructions are from their originals to a network: LPIPS, and offline the same without its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.metrics import MetricValue
from mimflow.compute.devices import full_precision
from mimflow.features.base import Frozen
from mimflow.features.efficientnet_lite0 import preparation, pretrained
from mimflow.features.lpips import LEAST_SIDE, Backbone, Lpips, unit_distance
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.perceptual_spec import LpipsAlexSpec, LpipsVggSpec, PerceptualSpec
from mimflow.metrics.values import value_of
from mimflow.spec.weights import FileWeights

PART = 32
"""Pairs of images that pass through a network at once."""


class Lite0Distance(Frozen):
    """Squared difference of EfficientNet-Lite0's unit-length features, a mean over places, a sum over five maps."""

    def __init__(self, input_size: int | None):
        super().__init__()
        self.prepare = preparation(input_size)
        self.network = pretrained()
        self.freeze()

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → the distance of each to its other (B,)."""
        prepared = self.prepare(torch.cat([images, others]))
        maps = cast(list[Tensor], self.network.forward_intermediates(prepared, intermediates_only=True))
        pairs = (torch.tensor_split(features, 2) for features in maps)
        distances = [unit_distance(one, other, dim=1).sum(1).mean((1, 2)) for one, other in pairs]
        return torch.stack(distances).sum(0)


def lpips_alex(spec: LpipsAlexSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """LPIPS 0.1 with AlexNet (Zhang et al. 2018, Eq. 1)."""
    return {"lpips_alex": _lpips("alex", spec.alex, spec.linear, context)}


def lpips_vgg(spec: LpipsVggSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """LPIPS 0.1 with VGG16 (Zhang et al. 2018, Eq. 1)."""
    return {"lpips_vgg": _lpips("vgg", spec.vgg, spec.linear, context)}


def perceptual(spec: PerceptualSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """The distance in EfficientNet-Lite0's five feature maps."""
    return {"perceptual": _mean(lambda: Lite0Distance(spec.input_size), context)}


def _lpips(
    backbone: Backbone, weights: FileWeights, linear: FileWeights | None, context: ImageComparison
) -> MetricValue:
    side = min(context.pairs[0].shape[1:3])
    if side < LEAST_SIDE[backbone]:
        reason = f"images of {side} pixels are smaller than the {LEAST_SIDE[backbone]} that its network takes"
        return MetricValue(None, reason=reason)
    return _mean(lambda: Lpips(backbone, weights, linear), context)


@torch.no_grad()
def _mean(build: Callable[[], Frozen], context: ImageComparison) -> MetricValue:
    """The mean distance over images, which does not depend on their order but for rounding in float64."""
    with torch.random.fork_rng(devices=[]):
        network = build().to(context.device)
    total = 0.0
    with full_precision(context.device):
        images, originals = context.pairs
        for start in range(0, len(images), PART):
            part = slice(start, start + PART)
            total += (
                network(*(_signed(each[part], context.device) for each in (images, originals))).double().sum().item()
            )
    return value_of(total / len(images))


def _signed(images: np.ndarray, device: torch.device) -> Tensor:
    """Images (B, H, W, C) uint8 → (B, C, H, W) in [−1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
