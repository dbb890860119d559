"""What networks that look at images share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
