"""The small convolutional classifier's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from mimflow.classifiers.spec import ClassifierSpec
from mimflow.spec.arithmetic import convolution_multiplications
from mimflow.spec.base import Count, Problem
from mimflow.spec.shapes import ImageShape


class ConvnetSpec(ClassifierSpec):
    """Stages of 3×3 convolutions, halving the image between them, then a mean over space and two linear maps."""

    kind: Literal["convnet"] = "convnet"
    widths: list[Count] = Field(min_length=1)
    """Channels of each stage, whose number is that of the stages."""
    features: Count = 64
    """Width of the layer before the logits, which is what metrics compare."""

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        most = image.size.bit_length()
        if len(self.widths) > most:
            yield Problem(
                ("widths",),
                f"{len(self.widths)} stages halve an image of {image.size} pixels to nothing",
                f"at most {most}",
            )

    def multiplications(self, image: ImageShape) -> int:
        before = [image.channels, *self.widths[:-1]]
        return sum(
            convolution_multiplications(inputs, outputs, image.size >> stage)
            for stage, (inputs, outputs) in enumerate(zip(before, self.widths, strict=True))
        )
