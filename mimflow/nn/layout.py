"""How maps lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MapLayout(nn.Module):
    """Lays maps (B, C, H, W) out as the layers behind it are the fastest: channels last, but for some on a GPU.

    There PyTorch's group norm gives planes whatever it is given; compiled layers keep channels last, which saves
    turning maps around before and after each convolution.
    """

    compiled = False
    """Whether the layers behind it are compiled."""

    def forward(self, maps: Tensor) -> Tensor:
        """The same maps."""
        last = maps.device.type == "cpu" or self.compiled
        return maps.to(memory_format=torch.channels_last) if last else maps
