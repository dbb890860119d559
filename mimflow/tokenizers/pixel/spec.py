"""The pixel tokenizer's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from mimflow.spec.base import Count, Problem
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.tokenizers.spec import TokenizerSpec


class PixelTokenizerSpec(TokenizerSpec):
    """Patches of pixels as tokens, in raster order; features run (channel, row, column), channel slowest."""

    kind: Literal["pixel"] = "pixel"
    patch_size: Count
    """Side of a patch in pixels."""

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        if image.size % self.patch_size:
            divisors = [n for n in range(1, image.size + 1) if image.size % n == 0]
            nearest = min(divisors, key=lambda n: abs(n - self.patch_size))
            yield Problem(
                ("patch_size",),
                f"{self.patch_size} does not divide the image's {image.size} pixels",
                f"nearest that does: {nearest}",
            )

    def latent_shape(self, image: ImageShape) -> LatentShape:
        side = image.size // self.patch_size
        return LatentShape(side * side, image.channels * self.patch_size**2, (side, side))
