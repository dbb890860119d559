"""The specs of integrating a velocity. Time runs from noise at t = 0 to data at t = 1, as in SiT (arXiv 2401.08740)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import Count, Fraction, NonNegative, Positive, Problem, Spec

if TYPE_CHECKING:
    from mimflow.system.spec import System


class VelocityGuidance(Spec):
    """v = v_c + w (v_c − v_u), with the velocities of the class and of the null class."""

    kind: Literal["classifier_free"] = "classifier_free"
    weight: NonNegative
    """The guidance weight w; 0 is no guidance. The scale that papers on diffusion give is 1 + w."""
    low: Fraction = 0.0
    """The first time that is guided, of 0 for noise to 1 for data: REPA-E's times run the other way."""
    high: Fraction = 1.0
    """The last time that is guided."""
    channels: Count | None = None
    """Guide only so many channels of the latents, the first ones; not given: all. SiT's released samplers guide three
    of four; REPA-E's all."""

    def problems(self) -> Iterator[Problem]:
        if self.low > self.high:
            yield Problem(("low",), f"{self.low} is above high, {self.high}", "low ≤ high")


class VelocitySamplerSpec(OutputSpec):
    """What both ways to integrate a velocity can say."""

    steps: Count
    """How many steps of equal length there are. SiT's release counts the points between them instead: its 250 are 249
    steps."""
    guidance: VelocityGuidance | None = None
    """How sampling is guided towards the class; not given: not at all."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.prior is None:
            yield Problem(
                ("kind",), f"'{self.kind}' draws from a prior, and the system has none", "add a prior, or remove it"
            )
        elif system.prior.flow:
            yield Problem(
                ("kind",), f"'{self.kind}' integrates a velocity, and prior '{system.prior.kind}' is a flow", "inverse"
            )


class OdeSpec(VelocitySamplerSpec):
    """Draw noise and follow the velocity to t = 1."""

    kind: Literal["ode"] = "ode"
    method: Literal["euler", "heun"] = "euler"
    """How the velocity is integrated: by Euler's steps, or by Heun's of second order, the mean of the velocities at
    both ends of a step. Heun's last step is Euler's, as in REPA-E: no velocity is asked for at t = 1."""


class LastStep(Spec):
    """How an SDE ends: one step without noise, from t = 1 − size to t = 1."""

    kind: Literal["mean", "tweedie", "euler"] = "mean"
    """What the last step follows: the drift of the SDE, the mean of the data given the latents, or the velocity
    alone."""
    size: Annotated[float, Field(gt=0, lt=1)] = 0.04


class Diffusion(Spec):
    """How much noise an SDE adds, w(t) in dx = (v + w s) dt + √(2w) dW: every choice has the same marginals."""

    kind: Literal["sigma", "linear", "constant", "decreasing", "increasing_decreasing", "sbdm"] = "sigma"
    """The choice of w(t): σ(t); 1 − t; 1; ((1 + cos πt) / 2)²; sin² πt; or that of the path's own forward process, (α'
    / α) σ² − σ σ', which is (1 − t) / t on the linear path."""
    scale: Positive = 1.0
    """Factor that w(t) is multiplied by."""


class SdeSpec(VelocitySamplerSpec):
    """Draw noise and integrate the reverse SDE by Euler–Maruyama."""

    kind: Literal["sde"] = "sde"
    diffusion: Diffusion = Diffusion()
    """How much noise is added along the way: w(t)."""
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The first time t. `sbdm` has no value at 0."""
    last: LastStep | None = LastStep()
    """One step more than `steps`, without noise; with null, noise is added up to t = 1."""

    def problems(self) -> Iterator[Problem]:
        if self.diffusion.kind == "sbdm" and self.start == 0:
            yield Problem(("start",), "the diffusion 'sbdm' is infinite at t = 0", "start: 0.001")
        if self.last is not None and self.start >= 1 - self.last.size:
            yield Problem(("start",), f"the last step begins earlier, at {1 - self.last.size:g}", "a smaller one")
