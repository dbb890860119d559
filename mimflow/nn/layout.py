"""How maps lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def laid_out(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) as the convolutions behind them are the fastest: channels last on the CPU.

    On a GPU they stay as they are: group norm there gives planes whatever it is given.
    """
    return maps.to(memory_format=torch.channels_last) if maps.device.type == "cpu" else maps
