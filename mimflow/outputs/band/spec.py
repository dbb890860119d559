"""The spec of reconstructions of one band."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import Count, Problem
from mimflow.spec.noise import LatentNoise, NoNoise

if TYPE_CHECKING:
    from mimflow.system.spec import System


class BandSpec(OutputSpec):
    """Split every image of a split by a box filter, and encode and decode one of its bands as an image of its own.

    As MIMFlow's tools do it: how much of low and high frequencies an autoencoder takes along. What it is compared with
    is the band, not the image. That says how well filtered images are reconstructed, not where latents have power.
    """

    content: ClassVar[str] = "bands"
    reads_data: ClassVar[bool] = True

    kind: Literal["band"] = "band"
    band: Literal["low", "high"]
    """`low`: the mean over `window` × `window` pixels, those beyond borders 0. `high`: the image less that, on grey,
    clamped."""
    window: Count = 21
    """Pixels of the mean's side, an odd number."""
    split: Literal["train", "val"] = "val"
    """The split whose images are filtered."""
    noise: LatentNoise = NoNoise()
    """Noise on the latents before they are decoded: MIMFlow's tools have that of the training, and none for others'
    autoencoders."""

    def problems(self) -> Iterator[Problem]:
        if self.window % 2 == 0:
            yield Problem(("window",), f"{self.window} has no middle", "an odd number")

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.tokenizer is None:
            yield Problem(
                ("kind",), "a system without a tokenizer reconstructs nothing", "add a tokenizer, or remove it"
            )
