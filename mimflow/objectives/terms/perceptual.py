"""Perceptual distances between images and their reconstructions."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from mimflow.compute.devices import full_precision
from mimflow.features.base import IMAGENET_MEAN, IMAGENET_STD, Frozen, Preparation
from mimflow.features.lpips import Lpips, load_given, unit_distance
from mimflow.objectives.base import Batch
from mimflow.objectives.targets import Targets
from mimflow.objectives.terms.spec import ConvnextPerceptual, FeaturePerceptual, LpipsPerceptual, Perceptual
from mimflow.weights.given import given_file

CONVNEXT = "torchvision's ConvNeXt-Small (convnext_small-0c510722.pth)"


class ConvnextLogits(Frozen):
    """Mean squared difference of ConvNeXt-Small's 1000 logits at 224 pixels."""

    def __init__(self, spec: ConvnextPerceptual):
        super().__init__()
        self.prepare = Preparation(224, IMAGENET_MEAN, IMAGENET_STD)
        self.network = torchvision.models.convnext_small()
        load_given(self.network, lambda: given_file(spec.weights, CONVNEXT), CONVNEXT)
        self.freeze()

    def forward(self, reconstructions: Tensor, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → the mean distance."""
        logits = self.network(self.prepare(reconstructions))
        with torch.no_grad():
            targets = self.network(self.prepare(images))
        return F.mse_loss(logits.float(), targets.float())


class PerceptualDistance:
    """One perceptual term. Not a module: what is frozen is no part of an objective. Networks are built at first use.

    Computed in fp32, also under autocast, as in the public trainers (REPA-E, MIMFlow): a distance is a small difference
    of large features.
    """

    def __init__(self, spec: Perceptual, targets: Targets):
        self.spec = spec
        self.targets = targets
        self._network: Lpips | ConvnextLogits | None = None

    def __call__(self, reconstructions: Tensor, batch: Batch) -> Tensor:
        """Reconstructions (B, C, H, W) of a batch's images → the mean distance, differentiable."""
        with full_precision(reconstructions.device):
            return self._distance(reconstructions.float(), batch)

    def _distance(self, reconstructions: Tensor, batch: Batch) -> Tensor:
        if isinstance(self.spec, FeaturePerceptual):
            wanted = self.targets.of_batch(self.spec.network, batch)
            found = self.targets.of_images(self.spec.network, reconstructions)
            return unit_distance(found, wanted, dim=2).sum(2).mean()
        if self._network is None:
            self._network = self.build().to(reconstructions.device)
        return self._network(reconstructions, batch.images).mean()

    def build(self) -> Lpips | ConvnextLogits:
        """Its network, unless the features of one of `targets` are compared. PyTorch's generator is left as it was."""
        assert not isinstance(self.spec, FeaturePerceptual)
        with torch.random.fork_rng(devices=[]):
            if isinstance(self.spec, LpipsPerceptual):
                return Lpips("vgg", self.spec.vgg, self.spec.linear)
            return ConvnextLogits(self.spec)

    def use(self, network: Lpips | ConvnextLogits) -> None:
        """Take a network that is built already, on the device."""
        self._network = network
