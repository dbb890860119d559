"""Noise on latents while a tokenizer and a prior are trained: one draw is shared by all that reads the latents.

SimFlow (arXiv 2512.04084, Table 6) compares the kinds: without noise the latents collapse, additive noise of a fixed
variance is the best.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.spec.base import Fraction, Positive, Problem, Spec


class UniformLaw(Spec):
    """t uniform in [low, high]; equal ends fix it."""

    kind: Literal["uniform"] = "uniform"
    low: Fraction = 0.0
    high: Fraction = 1.0

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


class LinearNoise(Spec):
    """t x + (1 − t) ε, one t a sample (SimFlow, Table 6)."""

    kind: Literal["linear"] = "linear"
    t: LawOfT = UniformLaw()
    """The law of t, which is published nowhere: uniform in [0, 1] unless told."""


class SlerpNoise(Spec):
    """t x + √(1 − t²) ε, one t a sample: latents of variance 1 keep it (SimFlow, Table 6)."""

    kind: Literal["slerp"] = "slerp"
    t: LawOfT = UniformLaw()
    """The law of t, which is published nowhere: uniform in [0, 1] unless told."""


class NoNoise(Spec):
    """Latents as they are: trained jointly, they collapse."""

    kind: Literal["none"] = "none"


LatentNoise = Annotated[AdditiveNoise | LinearNoise | SlerpNoise | NoNoise, Field(discriminator="kind")]
