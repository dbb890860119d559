"""SiT's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from mimflow.priors.spec import Tap, VelocityPriorSpec, head_problems
from mimflow.spec.arithmetic import transformer_multiplications
from mimflow.spec.base import Count, Positive, Problem
from mimflow.spec.shapes import LatentShape


class SitSpec(VelocityPriorSpec):
    """A transformer with adaLN-Zero over patches of latents (SiT, arXiv 2401.08740).

    The released network also predicts a variance that nothing uses; this one does not, as in REPA-E: 18,448 parameters
    fewer for XL/2.
    """

    kind: Literal["sit"] = "sit"
    width: Count
    """Width of the transformer. S: 384, B: 768, L: 1024, XL: 1152."""
    layers: Count
    """Transformer layers. S, B: 12, L: 24, XL: 28."""
    head_width: Count = 64
    """Width of an attention head; `width / head_width` heads. XL: 72."""
    expansion: Count = 4
    """Hidden width of the MLPs over `width`."""
    patch_size: Count = 1
    """Side of the squares of latent tokens that the transformer reads as one: the 2 of XL/2."""
    position: Literal["sincos_2d", "learned"] = "sincos_2d"
    """How positions are told: by fixed sines and cosines of row and column, or by a learned vector for each place, for
    latents without a grid."""
    time_scale: Positive = 1.0
    """What t is multiplied by before its sines and cosines, whose frequencies run from 1 to 1e-4. DiT's steps run to
    1000; SiT's release keeps t, which is 1."""

    @property
    def depths(self) -> list[int]:
        return [self.layers]

    def width_of(self, tap: Tap) -> int:
        return self.width

    def multiplications(self, latent: LatentShape) -> int:
        return transformer_multiplications(self.width, self.layers, self.hidden_tokens(latent), self.expansion)

    def hidden_tokens(self, latent: LatentShape) -> int:
        return latent.tokens // self.patch_size**2

    def problems(self) -> Iterator[Problem]:
        yield from head_problems(self.width, self.head_width)
        if self.position == "sincos_2d" and self.width % 4:
            yield Problem(
                ("width",), f"{self.width} does not split into sines and cosines of two axes", "a multiple of 4"
            )

    def latent_problems(self, latent: LatentShape) -> Iterator[Problem]:
        if latent.grid is None:
            if self.position == "sincos_2d":
                yield Problem(
                    ("position",), f"sincos_2d needs a grid, and {latent.tokens} tokens have none", "position: learned"
                )
            if self.patch_size > 1:
                yield Problem(
                    ("patch_size",), f"patches need a grid, and {latent.tokens} tokens have none", "patch_size: 1"
                )
        elif any(side % self.patch_size for side in latent.grid):
            rows, columns = latent.grid
            yield Problem(
                ("patch_size",), f"{self.patch_size} does not divide a grid of {rows} × {columns}", "patch_size: 1"
            )
