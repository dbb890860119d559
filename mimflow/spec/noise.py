"""Noise on latents while a tokenizer and a prior are trained: one draw is shared by all that reads the latents.

SimFlow (arXiv 2512.04084, Table 6) compares the kinds: without noise the latents collapse, additive noise of a fixed
variance is the best.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mimflow.spec.base import Fraction, Positive, Problem, Spec

if TYPE_CHECKING:
    pass


class UniformLaw(Spec):
    """t uniform in [low, high]; equal ends fix it."""

    kind: Literal["uniform"] = "uniform"
    low: Fraction = 0.0
    """The least t."""
    high: Fraction = 1.0
    """The largest t."""

    def problems(self) -> Iterator[Problem]:
        if self.low > self.high:
            yield Problem(("low",), f"{self.low} is above high, {self.high}", "low ≤ high")


class LogitNormalLaw(Spec):
    """t the sigmoid of a normal variable: seldom near 0 or 1."""

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: Positive = 1.0


LawOfT = Annotated[UniformLaw | LogitNormalLaw, Field(discriminator="kind")]


class AdditiveNoise(Spec):
    """x + std · ε with ε standard normal: SimFlow's fixed variance, and MIMFlow's, whose std is 0.3."""

    kind: Literal["additive"] = "additive"
    std: Positive
    """Standard deviation of the noise."""


class LinearNoise(Spec):
    """t x + (1 − t) ε, one t a sample (SimFlow, Table 6)."""

    kind: Literal["linear"] = "linear"
    t: LawOfT = UniformLaw()
    """The law of the mixing share t, which is published nowhere: uniform in [0, 1] unless told."""


class SlerpNoise(Spec):
    """t x + √(1 − t²) ε, one t a sample: latents of variance 1 keep it (SimFlow, Table 6)."""

    kind: Literal["slerp"] = "slerp"
    t: LawOfT = UniformLaw()
    """The law of the mixing share t, which is published nowhere: uniform in [0, 1] unless told."""


class NoNoise(Spec):
    """Latents as they are: trained jointly, they collapse."""

    kind: Literal["none"] = "none"


LatentNoise = Annotated[AdditiveNoise | LinearNoise | SlerpNoise | NoNoise, Field(discriminator="kind")]


class NoiseLevels(Spec):
    """x + t ε with a noise level t of each sample's own, for priors of noise levels (iTARFlow, arXiv 2604.20041).

    The loss is the mean of w(t) times the negative log-likelihood at t.
    """

    kind: Literal["levels"] = "levels"
    t0: Positive = 0.01
    """The lowest noise level."""
    t1: Positive
    """The highest noise level, at which sampling starts."""
    law: Literal["uniform", "edm", "linear"] = "uniform"
    """How t is drawn: uniform in [t0, t1]; log t normal with mean −1.2 and standard deviation 1, whatever t0 and t1; or
    t² uniform in [t0², t1²], so that t has a density proportional to t."""
    weight: Literal["ones", "t", "t_norm", "sqr_t", "sqr_t_norm"] = "ones"
    """The weight w(t) of a level's loss: 1, t, t / (t0 + t1), t² or t² / (t0² + t1²). All published recipes have `t`,
    the code's default is 1: the gradient of a Gaussian's likelihood with respect to its mean grows as 1 / t, which `t`
    evens out."""

    def problems(self) -> Iterator[Problem]:
        if self.t0 >= self.t1:
            yield Problem(("t0",), f"{self.t0} is not below t1, {self.t1}", "t0 < t1")
