"""What a frozen network does."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.features.base import Frozen
from mimflow.features.registry import NETWORKS
from mimflow.features.spec import NetworkSpec


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
