"""The specs of metrics of likelihoods."""

from __future__ import annotations

from typing import ClassVar, Literal

from mimflow.metrics.number import Number
from mimflow.metrics.spec import MetricSpec


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
    source: ClassVar[str] = "TARFlow (arXiv 2412.06329), Eq. 6, with constants; bits by uniform dequantisation"

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
    source: ClassVar[str] = "the falsifier of iTARFlow's review (arXiv 2604.20041)"

    kind: Literal["likelihood_check"] = "likelihood_check"
