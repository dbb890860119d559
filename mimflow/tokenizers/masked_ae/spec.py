"""The masked autoencoder's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.spec.arithmetic import transformer_multiplications
from mimflow.spec.base import Count, Fraction, Positive, Problem, Spec
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.spec.weights import FileWeights
from mimflow.tokenizers.spec import TokenizerSpec, patch_problems


class VitSpec(Spec):
    """A pre-norm vision transformer with MLPs of four times its width. ViT-B: 768 wide, 12 layers, 12 heads."""

    width: Count
    """Width of the hidden states."""
    layers: Count
    """Transformer layers."""
    heads: Count
    """Attention heads of a layer."""
    layer_scale: Positive | None = None
    """Where a learned scale on every residual branch starts; not given: there is none. DINOv2's ViT, which the paper
    names, has 1e-5; a small one that is trained for minutes hardly moves away from it."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Probability that the last layer's branches are skipped for a sample in training, rising to it from 0."""

    def problems(self) -> Iterator[Problem]:
        if self.width % self.heads:
            yield Problem(
                ("heads",), f"{self.heads} heads do not divide the width {self.width}", f"a divisor of {self.width}"
            )

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class EncoderSpec(VitSpec):
    """The encoder: learned absolute positions, and rotary ones where the tokenizer has them."""

    weights: FileWeights | None = None
    """Weights to start from, in timm's naming for DINOv2, with patch embedding and positions resampled; from scratch
    if not given. The release does not say which: the code that it descends from takes DINOv2's, and then the linear
    probe starts from a network that is itself good at it."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.weights is not None and self.weights.modules is not None:
            yield Problem(("weights", "modules"), "these weights are the encoder's alone", "remove it")


class DecoderSpec(VitSpec):
    """The decoder."""

    absolute_positions: bool = False
    """Whether the image's tokens have learned absolute positions, besides rotary ones (released: they have none)."""


class MaskSpec(Spec):
    """Which patches are hidden: ⌈patches · ratio⌉ of them, in an order of each sample's own."""

    per: Literal["sample", "batch"] = "batch"
    """Whether a ratio is drawn for each batch or for each sample. The release does not say; the code that it descends
    from draws one a batch."""
    style: Literal["replace", "drop"] = "replace"
    """What becomes of a hidden patch. `replace`: a learned token stands for it (released). `drop`: it is left out of
    the sequence (MAE)."""


class TruncatedNormalMask(MaskSpec):
    """The ratio is normal, cut off at `low` and `high` (released: mean = high = 0.6, low 0.4, std 0.25)."""

    kind: Literal["truncated_normal"] = "truncated_normal"
    low: Fraction
    """The least ratio."""
    high: Fraction
    """The largest ratio."""
    mean: Fraction | None = None
    """Mean of the normal before it is cut; `high` if not given."""
    std: Positive = 0.25
    """Standard deviation of the normal before it is cut."""

    def problems(self) -> Iterator[Problem]:
        if self.low >= self.high:
            yield Problem(("low",), f"{self.low} is not below high, {self.high}", "low < high")


class UniformMask(MaskSpec):
    """The ratio is uniform in [low, high]; equal ends fix it."""

    kind: Literal["uniform"] = "uniform"
    low: Fraction
    """The least ratio."""
    high: Fraction
    """The largest ratio."""

    def problems(self) -> Iterator[Problem]:
        if self.low > self.high:
            yield Problem(("low",), f"{self.low} is above high, {self.high}", "low ≤ high")


class NoMask(Spec):
    """Nothing is hidden."""

    kind: Literal["none"] = "none"


Mask = Annotated[TruncatedNormalMask | UniformMask | NoMask, Field(discriminator="kind")]


class MaskedAeSpec(TokenizerSpec):
    """MIMFlow's tokenizer (arXiv 2606.26016): a ViT reads patches, some of them hidden, into learned latent queries,
    and another reconstructs the whole image from the latents."""

    kind: Literal["masked_ae"] = "masked_ae"
    patch_size: Count
    """Side of a patch in pixels."""
    latents: Count
    """How many latent tokens an image has."""
    channels: Count
    """Dimensions of a latent token."""
    encoder: EncoderSpec
    """The transformer from patches to latents."""
    decoder: DecoderSpec
    """The transformer from latents to patches."""
    mask: Mask
    """What is hidden from the encoder in training."""
    rotary: bool = True
    """Whether the image's tokens have rotary positions with learned frequencies (RoPE-mixed, θ = 10), in both
    halves."""
    latent_norm: Literal["none", "layer", "batch"] = "none"
    """How latents are normalised. `layer`: each token to mean 0 and variance 1. `batch`: each dimension of each token
    over the batch, running statistics in evaluation. None of them has learned parameters. The release names no norm."""

    representations = ("before_projection", "latents")
    parts = ("encoder", "decoder")

    def problems(self) -> Iterator[Problem]:
        for name in ("encoder", "decoder"):
            half: VitSpec = getattr(self, name)
            if self.rotary and half.width % half.heads == 0 and half.head_width % 4:
                yield Problem(
                    (name, "heads"),
                    f"rotary positions need heads of a multiple of 4, these are {half.head_width} wide",
                    "fewer heads, or rotary: false",
                )
        if not self.rotary and not self.decoder.absolute_positions:
            yield Problem(
                ("decoder", "absolute_positions"),
                "without any positions the decoder can't tell one patch from another",
                "true, or rotary: true",
            )

    @property
    def masks(self) -> bool:
        return not isinstance(self.mask, NoMask)

    @property
    def encoder_layers(self) -> int:
        return self.encoder.layers

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        return patch_problems(self.patch_size, image)

    def latent_shape(self, image: ImageShape) -> LatentShape:
        return LatentShape(self.latents, self.channels)

    def multiplications(self, image: ImageShape) -> int:
        tokens = 1 + self.latents + self.patch_grid(image) ** 2
        halves = (self.encoder, self.decoder)
        return sum(transformer_multiplications(half.width, half.layers, tokens) for half in halves)

    def patch_grid(self, image: ImageShape) -> int:
        return image.size // self.patch_size
