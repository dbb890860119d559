"""Integrating a velocity from noise to latents (SiT, arXiv 2401.08740, section 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torchdiffeq import odeint

from mimflow.errors import NotFiniteError
from mimflow.nn.draws import Draws, normal_like
from mimflow.nn.path import PathCoefficients
from mimflow.outputs.prior import PriorSampler
from mimflow.outputs.velocity.spec import Diffusion, LastStep, OdeSpec, SdeSpec, VelocityGuidance
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.velocity import VelocityPrior

Velocity = Callable[[Tensor, float], Tensor]
"""Latents (B, tokens, channels) at a time → their velocity, guided if asked."""

Draw = Callable[[Tensor], Tensor]
"""Latents → standard normal noise like them."""


def velocity_field(prior: VelocityPrior, labels: Tensor, guidance: VelocityGuidance | None) -> Velocity:
    """The prior's velocity for classes (B,). Guided, both branches are the two halves of one batch of 2B."""

    def conditional(x: Tensor, t: float) -> Tensor:
        return prior(x, x.new_full((len(x),), t), labels).velocity

    if guidance is None or guidance.weight == 0:
        return conditional
    branches = torch.cat([labels, torch.full_like(labels, NULL_CLASS)])

    def guided(x: Tensor, t: float) -> Tensor:
        if not guidance.low <= min(t, 1.0) <= guidance.high:  # an adaptive step may end beyond 1
            return conditional(x, t)
        v, null = prior(x.repeat(2, 1, 1), x.new_full((len(branches),), t), branches).velocity.chunk(2)
        away = guidance.weight * (v - null)
        if guidance.channels is not None:
            away[..., guidance.channels :] = 0
        return v + away

    return guided


def integrate(velocity: Velocity, x: Tensor, spec: OdeSpec) -> Tensor:
    """x at t = 0 → x at t = 1 along dx/dt = v."""
    if spec.steps is None:
        return _torchdiffeq(velocity, x, spec, points=2)
    if spec.method not in ("euler", "heun"):
        return _torchdiffeq(velocity, x, spec, points=spec.steps + 1)
    times = torch.linspace(0, 1, spec.steps + 1, dtype=torch.float64).tolist()
    for step, (t, following) in enumerate(pairwise(times)):
        size = following - t
        slope = velocity(x, t)
        if spec.method == "heun" and step < spec.steps - 1:
            slope = 0.5 * (slope + velocity(x + size * slope, following))
        x = x + size * slope
    return x


def _torchdiffeq(velocity: Velocity, x: Tensor, spec: OdeSpec, points: int) -> Tensor:
    """The same by a method of torchdiffeq's, from point to point of equal distance if its steps are fixed.

    An adaptive method estimates one error for all of x: samples that are integrated together share their steps, and
    the last step may end beyond t = 1. NotFiniteError where no step keeps to the tolerances.
    """
    times = torch.linspace(0, 1, points, dtype=x.dtype, device=x.device)
    tolerances = {"atol": spec.absolute_tolerance, "rtol": spec.relative_tolerance}
    try:
        states = odeint(lambda t, state: velocity(state, t.item()), x, times, method=spec.method, **tolerances)
    except AssertionError as error:  # its way to say that steps have become 0, or latents infinite
        raise NotFiniteError(
            f"'{spec.method}' finds no step that keeps to its tolerances (larger ones, or a smaller guidance weight)"
        ) from error
    return states[-1]


def diffusion(spec: Diffusion, at: PathCoefficients, t: float) -> Tensor:
    """w(t) on a path."""
    if spec.kind == "sbdm":
        return spec.scale * (at.alpha_rate / at.alpha * at.sigma**2 - at.sigma * at.sigma_rate)
    shares = {
        "sigma": at.sigma,
        "linear": 1 - t,
        "constant": 1.0,
        "decreasing": (0.5 * (1 + math.cos(math.pi * t))) ** 2,
        "increasing_decreasing": math.sin(math.pi * t) ** 2,
    }
    return spec.scale * torch.as_tensor(shares[spec.kind]).to(at.sigma)


class ReverseSde:
    """dx = (v + w s) dt + √(2w) dW with the score s of the velocity v."""

    def __init__(self, spec: SdeSpec, prior: VelocityPrior, velocity: Velocity):
        self.spec, self.prior, self.velocity = spec, prior, velocity

    def integrate(self, x: Tensor, draw: Draw) -> Tensor:
        """x at `start` → x at t = 1, by the spec's method and the last step; noise is drawn once a step."""
        spec = self.spec
        end = 1 - spec.last.size if spec.last is not None else 1.0
        times = torch.linspace(spec.start, end, spec.steps + 1, dtype=torch.float64).tolist()
        step = self._heun if spec.method == "heun" else self._euler_maruyama
        for t, following in pairwise(times):
            x = step(x, t, following, draw(x))
        return x if spec.last is None else self._last(spec.last, x, end)

    def _euler_maruyama(self, x: Tensor, t: float, following: float, noise: Tensor) -> Tensor:
        drift, w = self._drift(x, t)
        return x + (following - t) * drift + (2 * w * (following - t)).sqrt() * noise

    def _heun(self, x: Tensor, t: float, following: float, noise: Tensor) -> Tensor:
        size, w = following - t, diffusion(self.spec.diffusion, self._coefficients(x, t), t)
        x = x + (2 * w * size).sqrt() * noise
        drift = self._drift(x, t)[0]
        return x + 0.5 * size * (drift + self._drift(x + size * drift, following)[0])

    def _drift(self, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """v + w s, and w."""
        at, v = self._coefficients(x, t), self.velocity(x, t)
        w = diffusion(self.spec.diffusion, at, t)
        return v + w * at.score(x, v), w

    def _last(self, last: LastStep, x: Tensor, t: float) -> Tensor:
        if last.kind == "mean":
            return x + last.size * self._drift(x, t)[0]
        at, v = self._coefficients(x, t), self.velocity(x, t)
        if last.kind == "euler":
            return x + last.size * v
        return (x + at.sigma**2 * at.score(x, v)) / at.alpha  # Tweedie's formula

    def _coefficients(self, x: Tensor, t: float) -> PathCoefficients:
        return self.prior.coefficients(x.new_tensor(t))


class OdeSampler(PriorSampler):
    """Noise → along the velocity → decoder → clamp."""

    remedy = "a smaller guidance weight or more steps are less likely to overflow"

    def __init__(self, spec: OdeSpec):
        self.spec: OdeSpec = spec

    def latents(self, prior: VelocityPrior, labels: Tensor, draws: Draws) -> Tensor:
        noise = prior.noise(draws).to(labels.device)
        pieces = 1 if self.spec.error == "sample" else len(labels)
        return torch.cat(
            [
                integrate(velocity_field(prior, classes, self.spec.guidance), x, self.spec)
                for x, classes in zip(noise.split(pieces), labels.split(pieces), strict=True)
            ]
        )


class SdeSampler(PriorSampler):
    """Noise → reverse SDE → decoder → clamp."""

    remedy = OdeSampler.remedy

    def __init__(self, spec: SdeSpec):
        self.spec: SdeSpec = spec

    def latents(self, prior: VelocityPrior, labels: Tensor, draws: Draws) -> Tensor:
        noise = prior.noise(draws).to(labels.device)
        velocity = velocity_field(prior, labels, self.spec.guidance)
        return ReverseSde(self.spec, prior, velocity).integrate(noise, lambda x: normal_like(x, draws))
