"""The specs of the terms that objectives add up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.features.registry import NETWORKS
from mimflow.features.spec import NetworkSpec
from mimflow.priors.spec import Tap
from mimflow.spec.base import Count, Fraction, NonNegative, Problem, Spec
from mimflow.spec.weights import FileWeights


class Reconstruction(Spec):
    """Distance of pixels, a mean over all of them: the masked ones count like the others (MIMFlow)."""

    weight: NonNegative = 1.0
    """Weight of the pixels' distance in the loss."""
    loss: Literal["l2", "l1"] = "l2"
    """Whether differences of pixels are squared or absolute."""
    range: Literal["unit", "signed"] = "unit"
    """The range that pixels are compared in: [0, 1], as MIMFlow and STARFlow have it, or [−1, 1], where the squared
    difference is 4 times as large."""


class FeaturePerceptual(Spec):
    """Distance in one feature map of a frozen network: features of unit length, squared difference, mean over places.

    This is LPIPS' distance without its learned weights, and not comparable with LPIPS.
    """

    kind: Literal["features"] = "features"
    network: Annotated[NetworkSpec, NETWORKS]
    """The frozen network whose features are compared."""
    weight: NonNegative = 1.0
    """Weight of the distance in the loss."""


class LpipsPerceptual(Spec):
    """LPIPS with VGG16 (Zhang et al. 2018). The user brings both files."""

    kind: Literal["lpips"] = "lpips"
    vgg: FileWeights
    """The file of torchvision's VGG16 trained on ImageNet: `vgg16-397923af.pth`."""
    linear: FileWeights
    """The file of LPIPS' own weights, version 0.1: `vgg.pth`."""
    weight: NonNegative = 1.0
    """Weight of the distance in the loss."""


class ConvnextPerceptual(Spec):
    """Mean squared difference of ConvNeXt-Small's logits (STARFlow's and MIMFlow's second perceptual term)."""

    kind: Literal["convnext_logits"] = "convnext_logits"
    weights: FileWeights
    """The file of torchvision's ConvNeXt-Small, IMAGENET1K_V1: `convnext_small-0c510722.pth`."""
    weight: NonNegative = 0.1
    """Weight of the distance in the loss."""


Perceptual = Annotated[FeaturePerceptual | LpipsPerceptual | ConvnextPerceptual, Field(discriminator="kind")]


class AlignLatents(Spec):
    """The latents themselves are aligned: the gradient reaches the encoder alone."""

    kind: Literal["latents"] = "latents"
    noisy: bool = True
    """Whether latents are aligned with the noise that the prior and the decoder see, as MIMFlow's trainer hands them
    on, or before it."""


class AlignPrior(Tap):
    """Hidden states of the prior are aligned: the gradient reaches its first layers, and the encoder through them."""

    kind: Literal["prior"] = "prior"


class Alignment(Spec):
    """−cos between projected tokens and a frozen network's features of the image, a mean over places (REPA)."""

    network: Annotated[NetworkSpec, NETWORKS]
    """The frozen network whose features tokens are aligned with."""
    centred: bool = False
    """Whether the mean of the network's features over the training split, of each channel at each place, is taken off
    them. Features of images of one kind differ little from it, and then a constant is most of what there is to gain;
    none of the papers does it. The split's images are seen once before the first step, not augmented."""
    weight: NonNegative = 0.1
    """Weight of the alignment in the loss. REPA's own is 0.5; MIMFlow's release leaves it at MAETok's 0.1."""
    mode: Literal["repeat", "average"] = "repeat"
    """How a sequence of T tokens meets one of N places. `repeat`: each token stands for N / T places in a row.
    `average`: the longer of the two is average-pooled to the other's length, in raster order."""
    projector: list[Count] = Field(default=[1024, 1024], min_length=1)
    """Widths between the linear maps of the projector: two give Linear-SiLU-Linear-SiLU-Linear."""
    where: Annotated[AlignLatents | AlignPrior, Field(discriminator="kind")] = AlignLatents()
    """What is aligned: the latents, or hidden states of the prior."""

    def sequence_problems(self, tokens: int) -> Iterator[Problem]:
        """Why a sequence of so many tokens can't be aligned so."""
        places = self.network.side**2
        if self.mode == "repeat" and places % tokens:
            yield Problem(
                ("mode",),
                f"{tokens} tokens can't be repeated to the {places} places of the network's map",
                "average, or another map",
            )


class Auxiliary(Spec):
    """A small decoder that predicts a frozen network's features of the image from the noisy latents: −cos at places.

    Its sizes are published nowhere. The network's map is average-pooled to the tokenizer's patches, or repeated where
    it is the smaller of the two.
    """

    network: Annotated[NetworkSpec, NETWORKS]
    """The frozen network whose features are predicted."""
    centred: bool = False
    """Whether the mean of the network's features over the training split, of each channel at each place, is taken off
    them. Features of images of one kind differ little from it, and then a constant is most of what there is to gain;
    none of the papers does it. The split's images are seen once before the first step, not augmented."""
    weight: NonNegative = 1.0
    """Weight of the decoder's distance in the loss."""
    width: Count = 192
    """Width of the decoder's hidden states."""
    layers: Count = 3
    """Transformer layers of the decoder."""
    heads: Count = 3
    """Attention heads of a layer."""
    mask_only: bool = True
    """Whether only masked patches count, or all of them."""

    def problems(self) -> Iterator[Problem]:
        if self.width % self.heads or self.width // self.heads % 4:
            yield Problem(
                ("heads",), f"{self.heads} heads do not cut the width {self.width} into multiples of 4", "fewer heads"
            )


class Adversarial(Spec):
    """A PatchGAN discriminator (Isola et al. 2017) with the hinge loss, trained with the phase's optimiser.

    64 wide with 3 layers and kernel 4 it is that of LDM and MIMFlow: 2,765,633 parameters for RGB.
    """

    weight: NonNegative = 0.05
    """Weight of −mean D(reconstruction) in the decoder's loss."""
    start: Fraction = 0.0
    """Share of the phase before the discriminator and its term come in (MIMFlow: 0)."""
    width: Count = 64
    """Channels of the first layer; each later one has twice as many, up to 8 times."""
    layers: Count = 3
    """How many convolutions have stride 2; one of stride 1 and the one to logits follow."""
    kernel: Annotated[int, Field(ge=3)] = 4
    """Side in pixels of the kernels of all convolutions."""
    initialisation: Literal["torch", "normal"] = "torch"
    """How weights start: as PyTorch's do, which MIMFlow's copy leaves alone, or from N(0, 0.02) for convolutions and
    N(1, 0.02) for norms (LDM, REPA-E)."""
    adaptive: bool = False
    """Whether `weight` is multiplied, at each step, by the ratio of the gradients of reconstruction and adversarial
    terms at the decoder's last layer (VQGAN, LDM)."""
    lecam: NonNegative = 0.0
    """Weight of LeCAM's regulariser in the discriminator's loss (STARFlow's decoder: 0.001); 0 leaves it out."""
    r1: NonNegative = 0.0
    """Weight of ½ mean ‖∂D/∂x‖² at real images in the discriminator's loss; 0 leaves it out. None of the papers uses
    it."""

    def logits_side(self, image_side: int) -> int:
        """Width of the map of logits; below 1 the image is too small."""
        side = image_side
        for stride in (*[2] * self.layers, 1, 1):
            side = (side + 2 - self.kernel) // stride + 1
        return side
