"""The specs of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.features.spec import Layer
from mimflow.metrics.number import CurveNumber, Number
from mimflow.metrics.reference.registry import REFERENCES
from mimflow.metrics.reference.spec import Part, ReferenceSpec
from mimflow.spec.base import Count, NonNegative, Positive, Problem, Spec


class MetricSpec(Spec):
    """Base of the metric axis."""

    measures: ClassVar[tuple[str, ...]]
    """The contents that it can measure, by name. A protocol lists all its metrics; an output gets those that fit."""
    numbers: ClassVar[tuple[Number, ...]]
    """What it reports, in order."""
    curves: ClassVar[tuple[CurveNumber, ...]] = ()
    """The functions that it finds besides."""
    compares: ClassVar[Part | None] = None
    """The part of the reference that it compares images with; None where it looks at these alone."""
    source: ClassVar[str] = ""
    """Where it was published, and what of that is computed."""
    layer: ClassVar[Layer | None] = None
    """What it looks at of that which the extractor gives; None for metrics that need no extractor."""

    kind: str
    reference: Annotated[ReferenceSpec, REFERENCES] | None = None
    """What samples are compared with by this metric alone; not given: the protocol's reference."""

    @property
    def reports(self) -> tuple[str, ...]:
        """The names of the numbers that it reports."""
        return tuple(number.name for number in self.numbers)

    def problems(self) -> Iterator[Problem]:
        if self.reference is not None and self.compares not in ("statistics", "features"):
            what = {"images": "the split's images", "originals": "originals", None: "nothing"}[self.compares]
            yield Problem(("reference",), f"'{self.kind}' compares images with {what}", "leave it out")


class FidSpec(MetricSpec):
    """Fréchet distance between Gaussians fitted to features (Heusel et al. 2017).

    Of reconstructions it is the rFID: the reference is their originals, every image of the output's split, and not
    the protocol's reference, against which public code finds twice or half as much.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
    compares: ClassVar[Part | None] = "statistics"
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "fid",
            label="FID",
            sentence="the Fréchet distance between Gaussians fitted to features of the images and of the reference",
            digits=1,
            direction="lower",
            with_count=True,
            called={"reconstructions": "rFID"},
        ),
    )
    source: ClassVar[str] = "Heusel et al. 2017 (arXiv:1706.08500), Eq. 6; covariances with n − 1, in float64"
    layer: ClassVar[Layer] = "features"

    kind: Literal["fid"] = "fid"


class SfidSpec(MetricSpec):
    """Fréchet distance between Gaussians fitted to spatial features, which tell where things are.

    Of Inception they are those that the ADM evaluator takes: the first 7 channels of `mixed_6/conv`, which make
    17 × 17 × 7 = 2,023 numbers.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "sfid",
            label="sFID",
            sentence="the Fréchet distance between Gaussians fitted to spatial features of images and reference",
            digits=1,
            direction="lower",
            with_count=True,
        ),
    )
    compares: ClassVar[Part | None] = "statistics"
    source: ClassVar[str] = "Nash et al. 2021 (arXiv:2103.03841); layer and channels by OpenAI's guided-diffusion"
    layer: ClassVar[Layer] = "spatial"

    kind: Literal["sfid"] = "sfid"


class IsSpec(MetricSpec):
    """Inception score of shuffled samples (Salimans et al. 2016)."""

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "is",
            label="IS",
            sentence="the Inception score: how sure the classifier is of each image, and how many classes it sees",
            direction="higher",
            called={"reconstructions": "rIS"},
        ),
    )
    source: ClassVar[str] = "Salimans et al. 2016 (arXiv:1606.03498), section 4; images permuted, whatever their order"
    layer: ClassVar[Layer] = "logits"

    kind: Literal["is"] = "is"
    splits: Count = 10
    """Parts that samples are divided into: the score is the mean over them, its spread is theirs."""


class KidSpec(MetricSpec):
    """Kernel distance between features, cubic kernel (Bińkowski et al. 2018); of reconstructions to their originals."""

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
    compares: ClassVar[Part | None] = "features"
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "kid",
            label="KID",
            sentence="the squared kernel distance between features of the images and of the reference",
            digits=4,
            direction="lower",
            called={"reconstructions": "rKID"},
        ),
    )
    source: ClassVar[str] = "Bińkowski et al. 2018 (arXiv:1801.01401), section 4; subsets drawn, whatever the order"
    layer: ClassVar[Layer] = "features"

    kind: Literal["kid"] = "kid"
    subset_size: Count = 1000
    """Images in a subset of the samples, and as many of the reference."""
    subsets: Count = 100
    """Pairs of subsets that are drawn: the distance is the mean over them, its spread is theirs."""


class CmmdSpec(MetricSpec):
    """Squared kernel distance between features of unit length, Gaussian kernel, times 1,000, as CMMD has it.

    CMMD itself is this number in features of CLIP ViT-L/14 at 336 pixels; in those of another extractor it compares
    with itself alone. It assumes no distribution, and falls less with the number of images than FID does.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "cmmd",
            label="MMD (Gaussian kernel)",
            sentence="the squared Gaussian-kernel distance between unit features of the images and of the reference",
            digits=3,
            direction="lower",
        ),
    )
    compares: ClassVar[Part | None] = "features"
    source: ClassVar[str] = "Jayasumana et al. 2024 (arXiv:2401.09603); the published code's estimator, over all pairs"
    layer: ClassVar[Layer] = "features"

    kind: Literal["cmmd"] = "cmmd"
    sigma: Positive = 10.0
    """Width of the kernel exp(−|x − y|² / 2σ²)."""


class PrecisionRecallSpec(MetricSpec):
    """Improved precision and recall (Kynkäänniemi et al. 2019): two numbers, `precision` and `recall`.

    Precision rewards what is common: blur, or guidance, can raise it while recall falls.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples",)
    compares: ClassVar[Part | None] = "features"
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "precision",
            label="Precision",
            sentence="the share of samples among the reference images, in features",
            direction="higher",
        ),
        Number(
            "recall",
            label="Recall",
            sentence="the share of reference images among the samples, in features",
            direction="higher",
        ),
    )
    source: ClassVar[str] = "Kynkäänniemi et al. 2019 (arXiv:1904.06991), Eq. 1–3; in float64, balls are closed"
    layer: ClassVar[Layer] = "features"

    kind: Literal["precision_recall"] = "precision_recall"
    neighbourhood: Count = 3
    """Which of an image's neighbours its ball reaches to: the k-th nearest, itself not counted."""


class DensityCoverageSpec(MetricSpec):
    """Density and coverage (Naeem et al. 2020): two numbers, `density` and `coverage`.

    Balls around reference images reach to the `neighbourhood`-th nearest other one. Density is the mean number of balls
    that hold a sample, over the neighbourhood: outliers of the reference count less than in precision, and it can
    exceed 1; blur can raise it. Coverage is the share of balls that hold a sample.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "density",
            label="Density",
            sentence="how densely reference images lie around samples, in features",
            direction="higher",
        ),
        Number(
            "coverage",
            label="Coverage",
            sentence="the share of reference images with a sample nearby, in features",
            direction="higher",
        ),
    )
    compares: ClassVar[Part | None] = "features"
    source: ClassVar[str] = "Naeem et al. 2020 (arXiv:2002.09797), section 3; balls are open, as in their code"
    layer: ClassVar[Layer] = "features"

    kind: Literal["density_coverage"] = "density_coverage"
    neighbourhood: Count = 5
    """Which of an image's neighbours its ball reaches to: the k-th nearest, itself not counted."""


class ClassAccuracySpec(MetricSpec):
    """The share of images that the extractor's classifier puts in their class: the one that a sample was drawn for, or
    that of a reconstruction's original.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "class_accuracy",
            label="Accuracy",
            sentence="the share of images that the extractor's classifier puts in their class",
            digits=3,
            direction="higher",
        ),
    )
    source: ClassVar[str] = "this project's; Ravuri and Vinyals 2019 (arXiv:1905.10887) have the converse"
    layer: ClassVar[Layer] = "logits"

    kind: Literal["class_accuracy"] = "class_accuracy"


class SamplingSpeedSpec(MetricSpec):
    """How fast samples were drawn, on the machine and the device that drew them: it is no number of the system alone.

    Compare numbers of one machine that was busy with nothing else. SimFlow (arXiv 2512.04084, section C.3) shows what
    its Eq. 6 adds to the time.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "images_per_second",
            label="Images a second",
            sentence="how many samples were drawn and decoded in a second by the attempt that drew the last of them",
            digits=1,
            direction="higher",
        ),
    )
    source: ClassVar[str] = "this project's"

    kind: Literal["sampling_speed"] = "sampling_speed"


class PsnrSpec(MetricSpec):
    """Peak signal-to-noise ratio in dB of 8-bit images, peak 255: two numbers.

    `psnr` is the mean of 10 log₁₀(255² / MSE) over images, `psnr_pooled` that of the MSE of all images together. Public
    code does either without saying which; by Jensen's inequality the pooled one is never the larger.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    compares: ClassVar[Part | None] = "originals"
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "psnr",
            label="PSNR",
            sentence="the peak signal-to-noise ratio, averaged over images",
            direction="higher",
            unit="dB",
        ),
        Number(
            "psnr_pooled",
            label="PSNR, pooled",
            sentence="the peak signal-to-noise ratio of the mean squared error of all images together",
            direction="higher",
            unit="dB",
        ),
    )
    source: ClassVar[str] = "no single source; 8-bit images, peak 255"

    kind: Literal["psnr"] = "psnr"


class SsimSpec(MetricSpec):
    """Structural similarity (Wang et al. 2004) of 8-bit images: 11 × 11 Gaussian windows of σ 1.5, K₁ 0.01, K₂ 0.03.

    The mean over channels, then over images; the range of the data is 255.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    compares: ClassVar[Part | None] = "originals"
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "ssim",
            label="SSIM",
            sentence="the structural similarity to the originals, averaged over channels and images",
            digits=3,
            direction="higher",
        ),
    )
    source: ClassVar[str] = "Wang et al. 2004 (IEEE Transactions on Image Processing 13, 600); computed by scikit-image"

    kind: Literal["ssim"] = "ssim"


class LinearProbeSpec(MetricSpec):
    """Accuracy on the validation split of a linear classifier of features, as MIMFlow's tools train it: two numbers.

    Features are standardised with the training split's mean and variance, then BatchNorm with an affine map, then a
    linear layer; SGD on the cross-entropy, the rate following a cosine to 0 from epoch to epoch. `probe_last` is the
    accuracy after the last epoch. `probe_best` is the best of those evaluated: it is chosen on the split that it is
    measured on, and what MIMFlow reports. The protocol of MAE (LARS, no affine map, crops) is another.
    """

    measures: ClassVar[tuple[str, ...]] = ("representation",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "probe_last",
            label="Probe, last epoch",
            sentence="the accuracy of a linear classifier of features on the validation split, after its last epoch",
            digits=3,
            direction="higher",
        ),
        Number(
            "probe_best",
            label="Probe, best epoch",
            sentence="the best accuracy of a linear classifier of features on the split that it is measured on",
            digits=3,
            direction="higher",
        ),
    )
    source: ClassVar[str] = "MIMFlow's tools (public code)"

    kind: Literal["linear_probe"] = "linear_probe"
    epochs: Count = 90
    """Times that the layer sees every training image."""
    lr: Positive = 0.1
    """Learning rate, which is not scaled with the batch."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD."""
    weight_decay: NonNegative = 1e-4
    """Weight decay: what the tools' commands give; the tools' own default is 0."""
    batch_size: Annotated[int, Field(ge=2)] = 16384
    """Images of a step at most: an epoch is cut into equal parts. The tools' is 2,048 on each of 8 GPUs."""
    eval_every: Count = 10
    """Epochs between evaluations; the last epoch is always evaluated."""
    seed: int = 0
    """Seed of the layer's initial weights and of the order of images."""
