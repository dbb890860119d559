"""The specs of metrics that compare reconstructions with their originals in the features of a network."""

from __future__ import annotations

from typing import ClassVar, Literal

from mimflow.metrics.number import Number
from mimflow.metrics.reference.spec import Part
from mimflow.metrics.spec import MetricSpec
from mimflow.spec.base import Count
from mimflow.spec.weights import FileWeights


class LpipsAlexSpec(MetricSpec):
    """LPIPS 0.1 with AlexNet: learned weights of unit-length features, a mean over places, a sum over five layers.

    The mean over images; images are compared at their own size.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "lpips_alex",
            label="LPIPS (Alex)",
            sentence="the learned perceptual distance to the originals in AlexNet's features, averaged over images",
            digits=3,
            direction="lower",
        ),
    )
    compares: ClassVar[Part | None] = "originals"
    source: ClassVar[str] = "Zhang et al. 2018 (arXiv:1801.03924), Eq. 1; version 0.1 of the weights"

    kind: Literal["lpips_alex"] = "lpips_alex"
    alex: FileWeights
    """The file of torchvision's AlexNet trained on ImageNet: `alexnet-owt-7be5be79.pth`."""
    linear: FileWeights | None = None
    """The file of LPIPS' own weights, version 0.1: `alex.pth`; not given: the package lpips has it."""


class LpipsVggSpec(MetricSpec):
    """LPIPS 0.1 with VGG16: learned weights of unit-length features, a mean over places, a sum over five layers.

    The mean over images; images are compared at their own size.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "lpips_vgg",
            label="LPIPS (VGG)",
            sentence="the learned perceptual distance to the originals in VGG16's features, averaged over images",
            digits=3,
            direction="lower",
        ),
    )
    compares: ClassVar[Part | None] = "originals"
    source: ClassVar[str] = "Zhang et al. 2018 (arXiv:1801.03924), Eq. 1; version 0.1 of the weights"

    kind: Literal["lpips_vgg"] = "lpips_vgg"
    vgg: FileWeights
    """The file of torchvision's VGG16 trained on ImageNet: `vgg16-397923af.pth`."""
    linear: FileWeights | None = None
    """The file of LPIPS' own weights, version 0.1: `vgg.pth`; not given: the package lpips has it."""


class PerceptualSpec(MetricSpec):
    """Distance in the five feature maps of EfficientNet-Lite0, which is there offline: features of unit length, squared
    difference, a mean over places, a sum over maps, then a mean over images.

    LPIPS without its learned weights, in another network: not comparable with LPIPS.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "perceptual",
            label="Perceptual (Lite0)",
            sentence="the distance to the originals in EfficientNet-Lite0's unit features, averaged over images",
            digits=3,
            direction="lower",
        ),
    )
    compares: ClassVar[Part | None] = "originals"
    source: ClassVar[str] = "this project's, after Zhang et al. 2018 (arXiv:1801.03924), Eq. 1 with weights of 1"

    kind: Literal["perceptual"] = "perceptual"
    input_size: Count | None = None
    """Images are resized to so many pixels first (bilinear, antialiased); not given: they keep their own size."""
