"""Integrating a velocity from noise to latents (SiT, arXiv 2401.08740, section 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from mimflow.nn.path import PathCoefficients
from mimflow.outputs.prior import PriorSampler
from mimflow.outputs.velocity.spec import Diffusion, LastStep, OdeSpec, SdeSpec, VelocityGuidance
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.velocity import VelocityPrior

Velocity = Callable[[Tensor, float], Tensor]
"""Latents (B, tokens, channels) at a time → their velocity, guided if asked."""


def velocity_field(prior: VelocityPrior, labels: Tensor, guidance: VelocityGuidance | None) -> Velocity:
    """The prior's velocity for classes (B,). Guided, both branches are the two halves of one batch of 2B."""

    def conditional(x: Tensor, t: float) -> Tensor:
        return prior(x, x.new_full((len(x),), t), labels).velocity

    if guidance is None or guidance.weight == 0:
        return conditional
    branches = torch.cat([labels, torch.full_like(labels, NULL_CLASS)])

    def guided(x: Tensor, t: float) -> Tensor:
        if not guidance.low <= t <= guidance.high:
            return conditional(x, t)
        v, null = prior(x.repeat(2, 1, 1), x.new_full((len(branches),), t), branches).velocity.chunk(2)
        away = guidance.weight * (v - null)
        if guidance.channels is not None:
            away[..., guidance.channels :] = 0
        return v + away

    return guided


def integrate(velocity: Velocity, x: Tensor, steps: int, method: str) -> Tensor:
    """x at t = 0 → x at t = 1 along dx/dt = v, in `steps` steps of Euler's or Heun's method."""
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64).tolist()
    for step, (t, following) in enumerate(pairwise(times)):
        size = following - t
        slope = velocity(x, t)
        if method == "heun" and step < steps - 1:
            slope = 0.5 * (slope + velocity(x + size * slope, following))
        x = x + size * slope
    return x


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

    def integrate(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x at `start` → x at t = 1, by Euler–Maruyama and the last step; noise is drawn on the CPU."""
        spec = self.spec
        end = 1 - spec.last.size if spec.last is not None else 1.0
        times = torch.linspace(spec.start, end, spec.steps + 1, dtype=torch.float64).tolist()
        for t, following in pairwise(times):
            drift, w = self._drift(x, t)
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
            x = x + (following - t) * drift + (2 * w * (following - t)).sqrt() * noise
        return x if spec.last is None else self._last(spec.last, x, end)

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

    def latents(self, prior: VelocityPrior, labels: Tensor, generator: torch.Generator) -> Tensor:
        noise = prior.noise(len(labels), generator).to(labels.device)
        velocity = velocity_field(prior, labels, self.spec.guidance)
        return integrate(velocity, noise, self.spec.steps, self.spec.method)


class SdeSampler(PriorSampler):
    """Noise → reverse SDE → decoder → clamp."""

    remedy = OdeSampler.remedy

    def __init__(self, spec: SdeSpec):
        self.spec: SdeSpec = spec

    def latents(self, prior: VelocityPrior, labels: Tensor, generator: torch.Generator) -> Tensor:
        noise = prior.noise(len(labels), generator).to(labels.device)
        velocity = velocity_field(prior, labels, self.spec.guidance)
        return ReverseSde(self.spec, prior, velocity).integrate(noise, generator)
