"""What a frozen network does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.networks.registry import NETWORKS
from mimflow.networks.spec import NetworkSpec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Preparation(nn.Module):
    """Images (B, 1 or 3, H, W) in [−1, 1] → (B, 3, `size`, `size`), normalised by `mean` and `std` of [0, 1].

    Grey images become RGB ones of three equal channels. `size` None leaves the size alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int | None, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return (images / 2 + 0.5 - self.mean) / self.std


class Frozen(nn.Module):
    """A network in evaluation mode for good, without gradients to its weights; they flow to its images."""

    def freeze(self) -> None:
        """What a subclass calls when its weights are in place."""
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


class FrozenNetwork(Frozen):
    """A member of the network axis. Built as `Network(spec)`, by `build_network`."""

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → (B, side², channels) in raster order, differentiable."""
        # On the CPU the backward of convolutions takes twice as long in bf16.
        with torch.autocast("cpu", enabled=False):
            return self.tokens(images.float())

    def tokens(self, images: Tensor) -> Tensor:
        """`features`, in the precision that is set."""
        raise NotImplementedError


def build_network(spec: NetworkSpec) -> FrozenNetwork:
    """The network of a spec, on the CPU. PyTorch's generator is left as it was.

    ArtifactError if its weights are missing or others, SpecError if it is not what the spec says.
    """
    with torch.random.fork_rng(devices=[]):
        network: FrozenNetwork = NETWORKS.build(spec)
    return network
