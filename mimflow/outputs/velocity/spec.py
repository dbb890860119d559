"""The specs of integrating a velocity. Time runs from noise at t = 0 to data at t = 1, as in SiT (arXiv 2401.08740)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mimflow.outputs.spec import SamplerSpec
from mimflow.spec.base import Count, Fraction, NonNegative, Positive, Problem, Spec

if TYPE_CHECKING:
    from mimflow.system.spec import System


OdeMethod = Literal["euler", "heun", "heun2", "midpoint", "heun3", "rk4", "dopri5"]


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


ADAPTIVE_STEPS = 20
"""About how many steps `dopri5` takes at its tolerances here: a guess, for plans."""
EVALUATIONS = {"euler": 1, "heun": 2, "heun2": 2, "midpoint": 2, "heun3": 3, "rk4": 4, "dopri5": 6}
"""Velocities that a step of each method asks for."""


class VelocitySamplerSpec(SamplerSpec):
    """What both ways to integrate a velocity can say."""

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
    steps: Count | None = None
    """How many steps of equal length there are; `dopri5` chooses its own. SiT's release counts the points between them
    instead: its 250 are 249 steps."""
    method: OdeMethod = "euler"
    """How the velocity is integrated: by Euler's steps, or by Heun's of second order, the mean of the velocities at
    both ends of a step, whose last step is Euler's, as in REPA-E: no velocity is asked for at t = 1. The others are
    torchdiffeq's, as in SiT's release: `heun2` is Heun's to the end, `midpoint` of second order, `heun3` of third,
    `rk4` of fourth, and `dopri5` chooses its steps by their estimated error, that of Dormand and Prince."""
    absolute_tolerance: Positive = 1e-6
    """The error that `dopri5` allows a step at latents of 0."""
    relative_tolerance: Positive = 1e-3
    """The error that `dopri5` allows a step besides, over the latents' size."""
    error: Literal["batch", "sample"] = "batch"
    """Over what `dopri5` takes the root mean square of the error. `batch`, as in the release: all samples of a batch go
    by the same steps, so that each depends, within the tolerances, on which others are drawn with it, on their number
    and thus on the protocol's `batch_size`. `sample`: each is integrated by itself, which depends on nothing else and
    asks the network for one sample at a time."""

    @property
    def prior_passes(self) -> int:
        guided = 1 if self.guidance is None else 2
        return guided * EVALUATIONS[self.method] * (self.steps or ADAPTIVE_STEPS)

    def problems(self) -> Iterator[Problem]:
        adaptive = self.method == "dopri5"
        if adaptive and self.steps is not None:
            yield Problem(("steps",), "dopri5 chooses its own steps", "remove it, or another method")
        elif not adaptive and self.steps is None:
            yield Problem(("steps",), f"'{self.method}' needs a number of steps", "steps: 250")
        for name in ("absolute_tolerance", "relative_tolerance", "error"):
            if not adaptive and getattr(self, name) != type(self).model_fields[name].default:
                yield Problem((name,), f"'{self.method}' does not look at its error", "remove it, or method: dopri5")


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
    """Draw noise and integrate the reverse SDE."""

    kind: Literal["sde"] = "sde"
    steps: Count
    """How many steps of equal length there are, without the last. SiT's release counts the points between them instead:
    its 250 are 249 steps."""
    method: Literal["euler_maruyama", "heun"] = "euler_maruyama"
    """How the SDE is integrated: by Euler–Maruyama, or by SiT's stochastic Heun, which adds a step's noise first and
    then follows the mean of the drifts at both ends of the step."""
    diffusion: Diffusion = Diffusion()
    """How much noise is added along the way: w(t)."""
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The first time t. `sbdm` has no value at 0."""
    last: LastStep | None = LastStep()
    """One step more than `steps`, without noise; with null, noise is added up to t = 1."""

    @property
    def prior_passes(self) -> int:
        guided = 1 if self.guidance is None else 2
        return guided * (2 if self.method == "heun" else 1) * self.steps

    def problems(self) -> Iterator[Problem]:
        if self.diffusion.kind == "sbdm" and self.start == 0:
            yield Problem(("start",), "the diffusion 'sbdm' is infinite at t = 0", "start: 0.001")
        if self.method == "heun" and self.last is None:
            message = "'heun' asks for the score at the end of its steps, and there is none at t = 1"
            yield Problem(("last",), message, "{kind: mean}")
        if self.last is not None and self.start >= 1 - self.last.size:
            yield Problem(("start",), f"the last step begins earlier, at {1 - self.last.size:g}", "a smaller one")
