"""The spec of reconstructions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import Fraction, Problem
from mimflow.spec.noise import LatentNoise, NoNoise

if TYPE_CHECKING:
    from mimflow.system.spec import System


class ReconstructionSpec(OutputSpec):
    """Encode every image of a split, in its order, and decode it again: no prior takes part.

    Metrics compare each with its original. Their FID is an rFID: the reference is the same images of the same
    split, however few there are, and not the protocol's.
    """

    content: ClassVar[str] = "reconstructions"
    reads_data: ClassVar[bool] = True

    kind: Literal["reconstruction"] = "reconstruction"
    split: Literal["train", "val"] = "val"
    noise: LatentNoise = NoNoise()
    """Noise on the latents before they are decoded, drawn once an image; the default decodes them as they are."""
    mask_ratio: Fraction = 0.0
    """Share of the patches that are hidden from the encoder: what a masked autoencoder makes of the rest."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if self.mask_ratio and system.tokenizer is not None and not system.tokenizer.masks:
            yield Problem(("mask_ratio",), "this tokenizer masks nothing", "0, or a masked_ae with a mask")
        if system.tokenizer is None:
            yield Problem(
                ("kind",), "a system without a tokenizer reconstructs nothing", "add a tokenizer, or remove it"
            )
