"""The box filter that splits images into two bands, as MIMFlow's tools do."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def box_mean(images: Tensor, window: int) -> Tensor:
    """Images (B, C, H, W) → the mean over `window` × `window` pixels, an odd number, around each.

    Those beyond borders are 0 and count: borders come out darker, as in MIMFlow's tools.
    """
    return F.avg_pool2d(images, window, stride=1, padding=window // 2)


def band(images: Tensor, which: str, window: int) -> Tensor:
    """Images (B, C, H, W) in [0, 1] → their `low` band, the box mean, or `high` band, the rest, in [0, 1] again.

    The rest is moved by ½ and clamped: nothing is grey.
    """
    low = box_mean(images, window)
    return low if which == "low" else (images - low + 0.5).clamp(0, 1)
