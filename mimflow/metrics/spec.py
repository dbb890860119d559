"""The specs of metrics, feature extractors and protocols' parts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.metrics.number import Number
from mimflow.spec.base import Count, NonNegative, Positive, Spec


class MetricSpec(Spec):
    """Base of the metric axis."""

    measures: ClassVar[tuple[str, ...]]
    """The contents that it can measure, by name. A protocol lists all its metrics; an output gets those that fit."""
    numbers: ClassVar[tuple[Number, ...]]
    """What it reports, in order."""

    kind: str

    @property
    def reports(self) -> tuple[str, ...]:
        """The names of the numbers that it reports."""
        return tuple(number.name for number in self.numbers)


class FidSpec(MetricSpec):
    """Fréchet distance between Gaussians fitted to features (Heusel et al. 2017).

    Of reconstructions it is the rFID: the reference is their originals, every image of the output's split, and not
    the protocol's reference, against which public code finds twice or half as much.
    """

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
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

    kind: Literal["fid"] = "fid"


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

    kind: Literal["is"] = "is"
    splits: Count = 10


class KidSpec(MetricSpec):
    """Kernel distance between features, cubic kernel (Bińkowski et al. 2018); of reconstructions to their originals."""

    measures: ClassVar[tuple[str, ...]] = ("samples", "reconstructions")
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

    kind: Literal["kid"] = "kid"
    subset_size: Count = 1000
    subsets: Count = 100


class PrecisionRecallSpec(MetricSpec):
    """Improved precision and recall (Kynkäänniemi et al. 2019): two numbers, `precision` and `recall`."""

    measures: ClassVar[tuple[str, ...]] = ("samples",)
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

    kind: Literal["precision_recall"] = "precision_recall"
    neighbourhood: Count = 3


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

    kind: Literal["class_accuracy"] = "class_accuracy"


class PsnrSpec(MetricSpec):
    """Peak signal-to-noise ratio in dB of 8-bit images, peak 255: two numbers.

    `psnr` is the mean of 10 log₁₀(255² / MSE) over images, `psnr_pooled` that of the MSE of all images together. Public
    code does either without saying which; by Jensen's inequality the pooled one is never the larger.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
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

    kind: Literal["psnr"] = "psnr"


class SsimSpec(MetricSpec):
    """Structural similarity (Wang et al. 2004) of 8-bit images: 11 × 11 Gaussian windows of σ 1.5, K₁ 0.01, K₂ 0.03.

    The mean over channels, then over images; the range of the data is 255.
    """

    measures: ClassVar[tuple[str, ...]] = ("reconstructions",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "ssim",
            label="SSIM",
            sentence="the structural similarity to the originals, averaged over channels and images",
            digits=3,
            direction="higher",
        ),
    )

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

    kind: Literal["linear_probe"] = "linear_probe"
    epochs: Count = 90
    lr: Positive = 0.1
    """Learning rate, which is not scaled with the batch."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 1e-4
    """Weight decay: what the tools' commands give; the tools' own default is 0."""
    batch_size: Annotated[int, Field(ge=2)] = 16384
    """Images of a step at most: an epoch is cut into equal parts. The tools' is 2,048 on each of 8 GPUs."""
    eval_every: Count = 10
    """Epochs between evaluations; the last epoch is always evaluated."""
    seed: int = 0
    """Seed of the layer's initial weights and of the order of images."""


class LikelihoodMetricSpec(MetricSpec):
    """Likelihoods of held-out images under a flow, constants included, in the units that papers give.

    `nll` is of latents with the training's noise, and comparable under one noise and one tokenizer only. The `rate`
    takes the entropy of that noise off, E[−log p(x) + log q(x | image)], a bound on what the latents tell of an image;
    with the `distortion` of what is decoded from the same noisy latents it is comparable across noise, and
    `rate_bits` across tokenizers too. `bpd` is the bound on discrete images
    by uniform dequantisation (TARFlow). Over several noise levels all are means over them, each counting the same.
    """

    measures: ClassVar[tuple[str, ...]] = ("likelihood",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "nll",
            label="NLL",
            sentence="the negative log-likelihood of noisy latents under the flow, per latent dimension",
            digits=3,
            unit="nats",
        ),
        Number(
            "nll_lowest",
            label="NLL, lowest t",
            sentence="the negative log-likelihood at the lowest noise level that was asked for, per latent dimension",
            digits=3,
            unit="nats",
        ),
        Number(
            "nll_highest",
            label="NLL, highest t",
            sentence="the negative log-likelihood at the highest noise level that was asked for, per latent dimension",
            digits=3,
            unit="nats",
        ),
        Number(
            "bpd",
            label="Bits/dim",
            sentence="the bound on the bits per pixel and channel of 8-bit images, by uniform dequantisation",
            digits=3,
            direction="lower",
            unit="bits",
        ),
        Number(
            "rate",
            label="Rate",
            sentence="the negative log-likelihood less the entropy of the noise, per latent dimension",
            digits=3,
            unit="nats",
        ),
        Number(
            "rate_bits",
            label="Rate/pixel",
            sentence="the same of all latents of an image, per pixel and channel",
            digits=3,
            unit="bits",
        ),
        Number(
            "distortion",
            label="Distortion",
            sentence="the mean squared error of what is decoded from the noisy latents, pixels in [−1, 1]",
            digits=4,
        ),
    )

    kind: Literal["likelihood"] = "likelihood"


class LikelihoodCheckSpec(MetricSpec):
    """What would show that a likelihood depends on how samples are drawn, or is of no invertible map: four numbers.

    Likelihoods are computed before samples are drawn, after, and after samples that were denoised: the same images,
    the same noise. All four are 0 but for rounding.
    """

    measures: ClassVar[tuple[str, ...]] = ("likelihood",)
    numbers: ClassVar[tuple[Number, ...]] = (
        Number(
            "denoiser_effect",
            label="ΔNLL, denoiser",
            sentence="the largest change of an image's log-likelihood by sampling with and without denoising",
            digits=6,
            direction="lower",
            unit="nats",
        ),
        Number(
            "round_trip",
            label="Round trip",
            sentence="the largest error of an image's noisy latents taken to noise and back",
            digits=6,
            direction="lower",
        ),
        Number(
            "round_trip_noise",
            label="Round trip, noise",
            sentence="the largest error of noise taken to latents and back",
            digits=6,
            direction="lower",
        ),
        Number(
            "changed_tensors",
            label="Changed tensors",
            sentence="how many of the system's tensors sampling left otherwise than they were",
            digits=0,
            direction="lower",
        ),
    )

    kind: Literal["likelihood_check"] = "likelihood_check"


class Reference(Spec):
    """The real images that samples are compared with."""

    split: Literal["train", "val"] = "train"
    count: Count | None = None
    """Only the first so many images of a seeded permutation are compared with; not given: all."""
    mirror: bool = False
    """Whether each of them is mirrored left to right or not, by a seeded coin, as where TARFlow's and iTARFlow's code
    takes its statistics; the ADM evaluator's references are not."""
