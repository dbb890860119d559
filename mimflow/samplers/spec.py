"""What every sampler's spec can say, with guidance and denoising."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from mimflow.spec.base import Count, NonNegative, Positive, Problem, Spec

if TYPE_CHECKING:
    from mimflow.objectives.spec import NoiseLevels
    from mimflow.priors.spec import PriorSpec
    from mimflow.spec.run import System

DEFAULT_LEVEL_STEP = 0.01
"""Between the levels of iTARFlow's denoising, where their number is not given."""

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


def _names_or_counts(value: Any) -> str:
    return "count" if isinstance(value, int) and not isinstance(value, bool) else "name"


GuidedBlocks = Annotated[
    Annotated[Literal["all", "deep"], Tag("name")] | Annotated[Count, Tag("count")], Discriminator(_names_or_counts)
]


class GuidanceSpec(Spec):
    """What every rule of guidance can say."""

    kind: str
    weight: NonNegative
    """0 is no guidance."""
    anneal: bool = True
    """Ramp the weight over a block's predictions, g_i = w (i + 1) / N for i = 0 … N − 1: TARFlow predicts N = T − 1 of
    T tokens, a flow with a start token all T."""
    blocks: GuidedBlocks = "all"
    """Which blocks are guided: all, only the deep one, which is the last of the density direction and the first in
    sampling, or so many counted from it."""
    interval: GuidanceInterval | None = None
    """Where guidance is left out; none: it is everywhere in the guided blocks."""

    def guided_of(self, blocks: int) -> int:
        """How many of so many blocks are guided, counted from the deep one."""
        if isinstance(self.blocks, int):
            return self.blocks
        return blocks if self.blocks == "all" else 1

    def problems(self) -> Iterator[Problem]:
        if self.blocks in ("deep", 1) and self.interval is not None and self.interval.meaning.endswith("_blocks"):
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
    blocks: GuidedBlocks = "deep"
    """As in STARFlow only the last block of the density direction, or all, or so many."""


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


class LevelDenoising(Spec):
    """From the noise level t1 down to none by the prior's own score, unguided (iTARFlow, arXiv 2604.20041).

    The flow is inverted at t1. Then x̂ = x + t² ∇ log p_t(x | y) is the estimate of the clean latents at each t of
    `steps` levels from t1 to t0, evenly spaced, and x becomes x̂ + t' (x − x̂) / t at the next one, t'; after t0 comes 0.
    """

    kind: Literal["levels"] = "levels"
    t1: Positive
    """The level that the flow is sampled at, where denoising begins: the highest that training draws."""
    t0: Positive = 0.01
    """The last level before 0."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """Levels, each of which costs a gradient of the whole flow; not given: t1 / 0.01, rounded down. With 0 the samples
    are the flow's own, with the noise of t1 in them."""
    method: Literal["ode", "sde"] = "ode"
    """Keep the noise that is left as it is, or renew the share of it that leaves its variance at t'², 1 − (t' / t)²."""
    clip: bool = False
    """Clamp every x̂ to [−1, 1], the range of pixels. The published evaluation does not; samples drawn during training
    are clamped."""

    @property
    def grid(self) -> list[float]:
        """The levels, and 0 after them."""
        steps = self.steps
        if steps is None:
            steps = int(self.t1 / DEFAULT_LEVEL_STEP + 1e-9)  # 0.29 / 0.01 is 29, less a rounding error
        if steps == 0:
            return [self.t1]
        return [self.t1 + (self.t0 - self.t1) * step / max(1, steps - 1) for step in range(steps)] + [0.0]

    def problems(self) -> Iterator[Problem]:
        if self.t0 >= self.t1:
            yield Problem(("t0",), f"{self.t0} is not below t1, {self.t1}", "t0 < t1")


Denoising = Annotated[ScoreDenoising | ScoreGuidance | LevelDenoising, Field(discriminator="kind")]


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

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        """Why it can't draw from a prior that was trained at these noise levels; paths as above."""
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
            return
        if not system.prior.flow:
            yield Problem(
                ("kind",), f"'{self.kind}' runs a flow backwards, and prior '{system.prior.kind}' is none", "ode or sde"
            )
            return
        if isinstance(self.denoise, ScoreGuidance) and not system.prior.takes_classes:
            yield Problem(("denoise", "kind"), "the prior knows no classes to step towards", "leave denoise out")
        of_levels = isinstance(self.denoise, LevelDenoising)
        if system.prior.noise_levels and not of_levels:
            yield Problem(
                ("denoise",),
                f"prior '{system.prior.kind}' is sampled at a noise level, and none is given",
                "denoise: {kind: levels, t1: the highest level of training}",
            )
        elif of_levels and not system.prior.noise_levels:
            yield Problem(
                ("denoise", "kind"), f"prior '{system.prior.kind}' has no noise levels to go down", "kind: score"
            )
        yield from self._clip_problems(system)
        yield from self._guidance_problems(system.prior)

    def _clip_problems(self, system: System) -> Iterator[Problem]:
        pixels = system.tokenizer is None or system.tokenizer.kind == "pixel"
        if isinstance(self.denoise, LevelDenoising) and self.denoise.clip and not pixels:
            yield Problem(("denoise", "clip"), "the latents are no pixels, whose range is known", "clip: false")

    def _guidance_problems(self, prior: PriorSpec) -> Iterator[Problem]:
        if self.guidance is None:
            return
        blocks = sum(layers > 0 for layers in prior.depths)
        if blocks == 0:
            yield Problem(
                ("guidance",), f"prior '{prior.kind}' has no autoregressive blocks to guide", "leave guidance out"
            )
        elif self.guidance.guided_of(blocks) > blocks:
            yield Problem(("guidance", "blocks"), f"the prior has {blocks} blocks", "fewer, or all")

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        if levels is None or levels.law == "edm" or not isinstance(self.denoise, LevelDenoising):
            return
        if self.denoise.t1 > levels.t1:
            yield Problem(
                ("denoise", "t1"), f"{self.denoise.t1} is above the highest level of training, {levels.t1}", "lower it"
            )
        if self.denoise.t0 < levels.t0:
            yield Problem(
                ("denoise", "t0"), f"{self.denoise.t0} is below the lowest level of training, {levels.t0}", "raise it"
            )
