"""Between 8-bit pixels and the range [−1, 1] that networks see."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mimflow.errors import NotFiniteError


def to_unit(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (B, H, W, C) → float32 (B, C, H, W) in [−1, 1] on the same device: v / 127.5 − 1, the same bits on each."""
    # A copy: torch has no read-only tensors, and the array may be a memory map of the store.
    bytes_ = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    planes = bytes_.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # By a number of the CPU's, CUDA would multiply by its reciprocal, which rounds otherwise.
    return planes.div_(planes.new_full((), 127.5)).sub_(1.0)


def to_uint8(images: Tensor, quantisation: Literal["round", "truncate"]) -> np.ndarray:
    """Images (B, C, H, W), clamped to [−1, 1] → uint8 (B, H, W, C).

    `round`: to the nearest of the 256 values, the inverse of `to_unit` (MAR). `truncate`: downwards, as
    torchmetrics' FID does with images in [0, 1] (TARFlow, iTARFlow); half a value darker on average.
    NotFiniteError for NaN and infinities, which no 8-bit value stands for.
    """
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images)).flatten(1).any(1).sum())
        raise NotFiniteError(f"{bad} of {len(images)} images hold values that are not finite")
    levels = images.detach().float().clamp(-1.0, 1.0).add(1.0).div(2.0).mul(255.0)
    if quantisation == "round":
        levels = levels.round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
