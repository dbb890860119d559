"""Filtering a split's images, and encoding and decoding what is left."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.rows import Rows
from mimflow.data.pixels import to_unit
from mimflow.nn.box import band
from mimflow.nn.noise import add_noise
from mimflow.outputs.band.spec import BandSpec
from mimflow.outputs.base import Drawn, ImageOutput, Setting
from mimflow.outputs.reconstruction.output import write_pairs


class BandReconstructions(ImageOutput):
    """`decode(encode(band of x))` of every image of a split, in its order; also `pairs.npz`, some and their bands."""

    def __init__(self, spec: BandSpec):
        self.spec = spec

    def labels(self, setting: Setting) -> np.ndarray:
        return setting.split(self.spec.split).labels

    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        images = setting.split(self.spec.split).images[rows.start : rows.stop]
        filtered = banded(images, self.spec.band, self.spec.window)
        tokenizer, draws = setting.modules.module("tokenizer"), setting.draws(rows)
        with torch.no_grad():
            latents = tokenizer.encode((2 * filtered - 1).to(setting.device))
            return Drawn(tokenizer.decode(add_noise(latents, self.spec.noise, draws)))

    def pictures(self, setting: Setting, images: Rows, labels: np.ndarray) -> None:
        """The band of an original and its reconstruction in turn."""
        originals = setting.split(self.spec.split).images
        which, window = self.spec.band, self.spec.window
        write_pairs(setting, images, labels, lambda places: banded_levels(originals[places], which, window))


def banded(images: np.ndarray, which: str, window: int) -> Tensor:
    """Images (B, H, W, C) uint8 → one of their bands (B, C, H, W) float32 in [0, 1]."""
    return band((to_unit(images) + 1) / 2, which, window)


def banded_levels(images: np.ndarray, which: str, window: int) -> np.ndarray:
    """The same, rounded to uint8 (B, H, W, C)."""
    levels = banded(images, which, window).mul(255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()
