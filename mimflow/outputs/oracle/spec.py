"""The spec of the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import Problem
from mimflow.spec.noise import LatentNoise

if TYPE_CHECKING:
    from mimflow.system.spec import System


class OracleSpec(OutputSpec):
    """Samples of a perfect prior: latents of the data's own images, the training's noise, the decoder.

    As many as the protocol asks for and of the classes that a sampler would draw, an image again, with other noise,
    where there are too few. No unguided prior should score better; where guidance does, it buys prototypes.
    """

    content: ClassVar[str] = "samples"
    reads_data: ClassVar[bool] = True
    title: ClassVar[str] = "Oracle"

    kind: Literal["oracle"] = "oracle"
    split: Literal["train", "val"] = "train"
    """The split whose images are encoded: the one that the prior was trained on, by default."""
    noise: LatentNoise
    """Noise on the latents before they are decoded: that of the training."""
    masked: bool = False
    """Whether the tokenizer hides of the images what its spec says, as where the prior was trained on latents of masked
    images."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.tokenizer is None or not system.tokenizer.trainable:
            yield Problem(
                ("kind",), "a system without a trained tokenizer decodes its data as they are", "remove the output"
            )
        elif self.masked and not system.tokenizer.masks:
            yield Problem(("masked",), "this tokenizer masks nothing", "false, or a masked_ae with a mask")
