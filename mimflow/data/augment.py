"""Random changes of training images."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.data.spec import Augment


def augment(images: Tensor, spec: Augment) -> Tensor:
    """Images (B, C, H, W) → the same shape, each changed by draws of its own.

    Draws come from torch's default generator on the CPU, whatever the images' device, so that a run sees the
    same images everywhere.
    """
    if spec.flip:
        mirrored = draw_mirrored(len(images)).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if spec.shift:
        images = _shift(images, spec.shift)
    return images


def draw_mirrored(count: int) -> Tensor:
    """Whether each of so many images is mirrored (B,): a fair coin of the CPU's default generator."""
    return torch.rand(count).lt(0.5)


def _shift(images: Tensor, most: int) -> Tensor:
    """Move each image by −most … most pixels down and to the right; the edge is repeated into the gap."""
    batch, _, height, width = images.shape
    down, right = torch.randint(-most, most + 1, (2, batch, 1)).to(images.device)
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    each = torch.arange(batch, device=images.device)[:, None, None]
    # Indices on both sides of a slice put its axis last: (B, H, W, C).
    return images[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
