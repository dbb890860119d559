"""The specs of sampling from a flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mimflow.outputs.spec import SamplerSpec
from mimflow.priors.decoding.spec import JacobiDecoding
from mimflow.priors.guidance.spec import AnyGuidance
from mimflow.spec.base import IN_KEY_IF_SET, OUTSIDE_KEY, Count, Positive, Problem, Spec

if TYPE_CHECKING:
    from mimflow.priors.spec import PriorSpec
    from mimflow.spec.noise import NoiseLevels
    from mimflow.system.spec import System


DEFAULT_LEVEL_STEP = 0.01
"""Between the levels of iTARFlow's denoising, where their number is not given."""


class DenoisingSpec(Spec):
    """What every way can say that takes gradients of the whole flow."""

    at_once: Annotated[Count | None, OUTSIDE_KEY] = None
    """Of how many samples a gradient is taken at once, which needs more memory than sampling does; not given: of a
    quarter of a batch. Samples stay the same but for rounding."""


class ScoreDenoising(DenoisingSpec):
    """One step of Tweedie's formula, x + σ² ∇ log p(x | y), unguided (TARFlow, section 2.4; a way out for STARFlow)."""

    kind: Literal["score"] = "score"
    std: Positive
    """Standard deviation σ of the training noise, on the latents' scale: that of the `pixel` tokenizer's is [−1, 1]."""


class ScoreGuidance(DenoisingSpec):
    """One step towards the class, x + γ (∇ log p(x | y) − ∇ log p(x)), with the whole flow (SimFlow Eq. 6).

    It removes no noise: the decoder has to know noisy latents.
    """

    kind: Literal["score_guidance"] = "score_guidance"
    step: Positive = 0.25
    """Length γ of the step along the gradient of the density of all dimensions together, on the latents' scale.
    SimFlow's 0.25 is the variance of its noise, and so Tweedie's step; whether the paper means the one or the other, it
    does not say."""


class LevelDenoising(DenoisingSpec):
    """From the noise level t1 down to none by the prior's own score, unguided (iTARFlow, arXiv 2604.20041).

    The flow is inverted at t1. Then x̂ = x + t² ∇ log p_t(x | y) is the estimate of the clean latents at each t of
    `steps` levels from t1 to t0, evenly spaced, and x becomes x̂ + t' (x − x̂) / t at the next one, t'; after t0 comes 0.
    """

    kind: Literal["levels"] = "levels"
    t1: Positive
    """The noise level that the flow is sampled at, where denoising begins: the highest that training draws."""
    t0: Positive = 0.01
    """The last noise level before 0."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """How many levels there are, each of which costs a gradient of the whole flow; not given: t1 / 0.01, rounded down.
    With 0 the samples are the flow's own, with the noise of t1 in them."""
    method: Literal["ode", "sde"] = "ode"
    """Whether the noise that is left, of variance t'², is kept as it is, or a share 1 − (t' / t)² of it is renewed."""
    clip: bool = False
    """Whether every x̂ is clamped to [−1, 1], the range of pixels. The published evaluation does not; samples drawn
    during training are clamped."""

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


class InverseSpec(SamplerSpec):
    """Draw noise and run the flow backwards, token by token; then take a step along its score if asked."""

    kind: Literal["inverse"] = "inverse"
    guidance: AnyGuidance | None = None
    """How sampling is guided towards the class; not given: not at all."""
    denoise: Denoising | None = None
    """What is done to samples afterwards; not given: nothing."""
    decoding: Annotated[JacobiDecoding | None, IN_KEY_IF_SET] = None
    """Iterations that find many tokens at once; not given: token by token, which they end in, and which is the faster
    way on a processor and for large batches."""
    noise_temperature: Positive = 1.0
    """Standard deviation of the noise that the flow starts from."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the flow's passes, backwards and along its score. bf16 is autocast, as in TARFlow's and iTARFlow's
    releases; the walk down noise levels is in fp32 all the same, as in iTARFlow's, and so is the decoder."""

    @property
    def prior_passes(self) -> int:
        flow = 1 if self.guidance is None else 2
        match self.denoise:
            case None:
                return flow
            case ScoreDenoising():
                return flow + 3
            case ScoreGuidance():
                return flow + 6
            case LevelDenoising():
                return flow + 3 * (len(self.denoise.grid) - 1)

    def noise_warnings(self, std: float) -> Iterator[Problem]:
        if isinstance(self.denoise, ScoreDenoising) and self.denoise.std != std:
            yield Problem(
                ("denoise", "std"),
                f"{self.denoise.std:g} is taken off, and the prior is trained with noise of {std:g}",
                "the same, or tie it: ${phases.…noise.std}",
            )

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
        blocks = sum(layers > 0 for layers in prior.depths)
        if self.decoding is not None and blocks == 0:
            yield Problem(
                ("decoding",), f"prior '{prior.kind}' has no autoregressive blocks to decode", "leave decoding out"
            )
        if self.guidance is None:
            return
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
