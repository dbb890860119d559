"""The pixel tokenizer's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from mimflow.spec.base import Count, Problem
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.tokenizers.spec import TokenizerSpec, patch_problems


class PixelTokenizerSpec(TokenizerSpec):
    """Patches of pixels as tokens, in raster order; features run (channel, row, column), channel slowest."""

    kind: Literal["pixel"] = "pixel"
    patch_size: Count
    """Side of a patch in pixels."""

    trainable = False
    grey_levels = True

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        return patch_problems(self.patch_size, image)

    def latent_shape(self, image: ImageShape) -> LatentShape:
        side = self.patch_grid(image)
        return LatentShape(side * side, image.channels * self.patch_size**2, (side, side))

    def patch_grid(self, image: ImageShape) -> int:
        return image.size // self.patch_size
