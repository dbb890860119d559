"""What every sampler's spec can say, with guidance and denoising."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.spec.base import NonNegative, Positive, Problem, Spec

if TYPE_CHECKING:
    from mimflow.spec.run import System

Subject = Literal["samples", "reconstructions", "representation"]
"""What a sampler gives and a metric measures: images of a prior, images of a split encoded and decoded again, or
features of images."""


class GuidanceInterval(Spec):
    """Leave guidance out of a part of the sampling.

    What MIMFlow's `interval_guidance` of 0.25 means is not public; 0 is no restriction.
    """

    fraction: Annotated[float, Field(gt=0, lt=1)]
    """The share that is not guided."""
    meaning: Literal["skip_first", "skip_last", "skip_first_blocks", "skip_last_blocks"] = "skip_first"
    """Of what: the first or the last predictions of a block, in its order, or the first or the last blocks in the
    order of sampling: the first are the deep ones, next to the noise. Positions are our choice for MIMFlow; a share of
    blocks is the other reading. An annealed weight rises as it does without an interval."""


class GuidanceSpec(Spec):
    """What every rule of guidance can say."""

    kind: str
    weight: NonNegative
    """0 is no guidance."""
    anneal: bool = True
    """Ramp the weight over a block's predictions, g_i = w (i + 1) / N for i = 0 … N − 1: TARFlow predicts N = T − 1 of
    T tokens, a flow with a start token all T."""
    blocks: Literal["all", "deep"] = "all"
    """Which blocks are guided: all, or only the last of the density direction, the first in sampling."""
    interval: GuidanceInterval | None = None
    """Where guidance is left out; none: it is everywhere in the guided blocks."""

    def problems(self) -> Iterator[Problem]:
        if self.blocks == "deep" and self.interval is not None and self.interval.meaning.endswith("_blocks"):
            yield Problem(
                ("interval", "meaning"), f"'{self.interval.meaning}' of the one block that is guided", "blocks: all"
            )


class LinearGuidance(GuidanceSpec):
    """Extrapolate shift and log-scale from the null branch: p_g = p_c + g (p_c − p_u) (TARFlow, section 2.5)."""

    kind: Literal["linear"] = "linear"
    what: list[Literal["shift", "log_scale"]] = Field(default=["shift", "log_scale"], min_length=1)
    """Which of the two is guided; the other stays the conditional one."""
    space: Literal["log_scale", "scale"] = "log_scale"
    """Whether the rule is on the logarithm of the scale (TARFlow) or on the scale itself (iTARFlow). The latter may
    reach 0 and is kept from it: never below a thousandth of the conditional scale."""
    against: Literal["class", "attention_temperature"] = "class"
    """The second branch: the null class, or the same unconditional model with another attention temperature."""
    temperature: Positive = 1.0
    """Divides the attention logits of the second branch."""


class GaussianProductGuidance(GuidanceSpec):
    """p ∝ N(μ_c, s_c²)^(1 + w) / N(μ_u, s_u²)^w in each dimension (STARFlow, section 3).

    s_c / s_u counts as 1 where it is more, so that the result is never wider than the conditional Gaussian.
    """

    kind: Literal["gaussian_product"] = "gaussian_product"
    anneal: bool = False
    """Ramp the weight over a block's predictions. STARFlow's released code has the switch, and no effect of it."""
    blocks: Literal["all", "deep"] = "deep"
    """As in STARFlow only the last block of the density direction, or all."""


AnyGuidance = Annotated[LinearGuidance | GaussianProductGuidance, Field(discriminator="kind")]


class ScoreDenoising(Spec):
    """One step of Tweedie's formula, x + σ² ∇ log p(x | y), unguided (TARFlow, section 2.4; a way out for STARFlow)."""

    kind: Literal["score"] = "score"
    std: Positive
    """σ: the standard deviation of the training noise, on the latents' scale: that of the `pixel` tokenizer's is
    [−1, 1]."""


class ScoreGuidance(Spec):
    """One step towards the class, x + γ (∇ log p(x | y) − ∇ log p(x)), with the whole flow (SimFlow Eq. 6).

    It removes no noise: the decoder has to know noisy latents.
    """

    kind: Literal["score_guidance"] = "score_guidance"
    step: Positive = 0.25
    """γ, of the gradient of the density of all dimensions together, on the latents' scale. SimFlow's 0.25 is the
    variance of its noise, and so Tweedie's step; whether the paper means the one or the other, it does not say."""


Denoising = Annotated[ScoreDenoising | ScoreGuidance, Field(discriminator="kind")]


class SamplerSpec(Spec):
    """Base of the sampler axis."""

    subject: ClassVar[Subject] = "samples"
    """What it gives: metrics say what they measure, and each sampler gets those that fit."""

    kind: str
    ema: bool = True
    """Take the averaged weights of the last phase; `false` takes the weights of its last step."""

    @property
    def reads_data(self) -> bool:
        """Whether it starts from the images of the run's data set instead of from noise."""
        return self.subject != "samples"

    def system_problems(self, system: System) -> Iterator[Problem]:
        """Why it can't draw from such a system. Paths are relative to the sampler."""
        return iter(())


class InverseSpec(SamplerSpec):
    """Draw noise and run the flow backwards, token by token; then take a step along its score if asked."""

    kind: Literal["inverse"] = "inverse"
    guidance: AnyGuidance | None = None
    denoise: Denoising | None = None
    noise_temperature: Positive = 1.0
    """Standard deviation of the noise that the flow starts from."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.prior is None:
            yield Problem(
                ("kind",), f"'{self.kind}' draws from a prior, and the system has none", "add a prior, or remove it"
            )
        elif not system.prior.flow:
            yield Problem(
                ("kind",), f"'{self.kind}' runs a flow backwards, and prior '{system.prior.kind}' is none", "ode or sde"
            )
        elif isinstance(self.denoise, ScoreGuidance) and not system.prior.takes_classes:
            yield Problem(("denoise", "kind"), "the prior knows no classes to step towards", "leave denoise out")
