"""The KL-VAE's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mimflow.spec.arithmetic import convolution_multiplications
from mimflow.spec.base import Count, Positive, Problem, Spec
from mimflow.spec.forms import WORD
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.spec.weights import FileWeights
from mimflow.tokenizers.spec import TokenizerSpec

NUMBER = "as a number"
"""What stands for a number in Pydantic's locations."""


def _scale_form(value: Any) -> str:
    return WORD if isinstance(value, str) else NUMBER


class LearnableVariance(Spec):
    """The encoder gives mean and log-variance of each dimension of the posterior (LDM)."""

    kind: Literal["learnable"] = "learnable"
    sample_posterior: bool = True
    """Whether training sees draws from the posterior, that of a prior on a frozen tokenizer too (STARFlow); or its
    mean. `encode` gives the mean in any case."""


class FixedVariance(Spec):
    """The encoder gives the mean alone (SimFlow): the posterior's variance is the noise that an objective adds."""

    kind: Literal["fixed"] = "fixed"
    outputs: Literal["projected", "mean", "both"] = "projected"
    """What the encoder ends in. `projected`: LDM's channels for mean and log-variance, all of which the quantising
    convolution takes to the mean (MAR's `use_variational: false`, as SimFlow's release says); `mean`: channels for the
    mean alone, which spares 0.3 M parameters at 64 channels; `both`: mean and log-variance, the second half unused."""


Variance = Annotated[LearnableVariance | FixedVariance, Field(discriminator="kind")]


class KlVaeSpec(TokenizerSpec):
    """The autoencoder of LDM (arXiv 2112.10752) and MAR (arXiv 2406.11838), of residual convolutions.

    As it stands it is MAR's, which takes images of 256 pixels to 16 × 16 latents: 67.14 M parameters with 64 channels.
    """

    kind: Literal["kl_vae"] = "kl_vae"
    channels: Count
    """Dimensions of a latent token."""
    width: Count = 128
    """Channels of a level whose multiplier is 1."""
    multipliers: list[Count] = Field(default=[1, 1, 2, 2, 4], min_length=1)
    """Widths of the levels, in units of `width`; each level but the last halves the image. Stable Diffusion's VAE has
    four levels, [1, 2, 4, 4]."""
    blocks: Count = 2
    """How many residual blocks a level of the encoder has; the decoder's have one more."""
    groups: Count = 32
    """How many groups of channels the group norms have."""
    attention: Literal["none", "encoder", "both"] = "encoder"
    """Where attention follows each residual block of the last level: in the encoder (MAR), in both halves (LDM), or
    nowhere (Stable Diffusion). Between the two blocks in the middle of each half it always stands."""
    variance: Variance
    """Whether the posterior's variance is learned or fixed."""
    latent_norm: Literal["none", "layer"] = "none"
    """How latents are normalised. `layer`: each token's mean to mean 0 and variance 1 over its channels, before any
    noise, with no parameters. SimFlow does not say whether its norm has any."""
    scale: Annotated[
        Annotated[Literal["measured"], Tag(WORD)] | Annotated[Positive, Tag(NUMBER)], Discriminator(_scale_form)
    ] = 1.0
    """Factor that latents are multiplied by on their way out, and divided by on their way back: one over the standard
    deviation of a trained tokenizer's. A number is a source's (MAR 0.2325, Stable Diffusion 0.18215). `measured`: 1
    until a phase of objective `latent_scale` sets it, which then is a part of the weights, so that runs that start from
    them have it too. While the tokenizer is trained it is best left at 1."""
    weights: FileWeights | None = None
    """Weights to start from, in LDM's naming; from scratch if not given."""

    stores_latents = True

    def problems(self) -> Iterator[Problem]:
        for index, width in enumerate(self.widths):
            if width % self.groups:
                yield Problem(
                    ("multipliers", index),
                    f"{self.groups} groups do not divide a level's {width} channels",
                    f"groups: a divisor of {width}",
                )
        if self.weights is not None and self.weights.modules is not None:
            yield Problem(("weights", "modules"), "these weights are the tokenizer's alone", "remove it")

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [self.width * multiplier for multiplier in self.multipliers]

    @property
    def learns_variance(self) -> bool:
        return isinstance(self.variance, LearnableVariance)

    @property
    def samples(self) -> bool:
        return isinstance(self.variance, LearnableVariance) and self.variance.sample_posterior

    @property
    def has_given_weights(self) -> bool:
        return self.weights is not None

    @property
    def measures_scale(self) -> bool:
        return self.scale == "measured"

    @property
    def outputs(self) -> int:
        """Channels that the encoder ends in."""
        only_mean = isinstance(self.variance, FixedVariance) and self.variance.outputs == "mean"
        return self.channels if only_mean else 2 * self.channels

    @property
    def moments(self) -> int:
        """Channels that the quantising convolution makes of them: means, then log-variances where there are any."""
        only_mean = isinstance(self.variance, FixedVariance) and self.variance.outputs != "both"
        return self.channels if only_mean else 2 * self.channels

    @property
    def reduction(self) -> int:
        """Pixels that a side of a latent stands for."""
        return int(2 ** (len(self.multipliers) - 1))

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        if image.size % self.reduction:
            yield Problem(
                ("multipliers",),
                f"{len(self.multipliers)} levels halve {len(self.multipliers) - 1} times, and {self.reduction} does "
                f"not divide the image's {image.size} pixels",
                "fewer levels",
            )

    def latent_shape(self, image: ImageShape) -> LatentShape:
        side = image.size // self.reduction
        return LatentShape(side * side, self.channels, (side, side))

    def multiplications(self, image: ImageShape) -> int:
        total, last = 0, len(self.widths) - 1
        for index, width in enumerate(self.widths):
            side = image.size // 2**index
            # Two convolutions a block; a half's first is from the width of the level before it.
            from_before = self.widths[max(index - 1, 0)] + self.widths[min(index + 1, last)] - 2 * width
            inner = 2 * (2 * self.blocks + 1) * width + from_before
            total += convolution_multiplications(inner, width, side)
            total += convolution_multiplications(width, width, side // 2) if index < last else 0
            total += convolution_multiplications(width, width, side, kernel=4) if index > 0 else 0  # transposed
        side, width = image.size // self.reduction, self.widths[-1]
        total += 8 * convolution_multiplications(width, width, side)  # the middles: four blocks
        attending = {"none": 0, "encoder": self.blocks, "both": 2 * self.blocks + 1}[self.attention]
        total += (2 + attending) * side**2 * (4 * width**2 + 2 * side**2 * width)
        return total
