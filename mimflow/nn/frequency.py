"""Low and high frequencies of images, as MIMFlow's tools split them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def split(images: Tensor, window: int = 21) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) in [0, 1] → their low and their high frequencies, each an image in [0, 1].

    Low is the mean over a square of `window` pixels (an odd number), zeros beyond the border counted, so that borders
    are dark, as released. High is what is left, around a grey of 0.5 and clamped: where it is not,
    low + high − 0.5 is the image.
    """
    low = F.avg_pool2d(images, window, stride=1, padding=window // 2)
    return low, (images - low + 0.5).clamp(0, 1)
