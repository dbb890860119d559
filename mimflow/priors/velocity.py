"""Priors that learn the velocity of a path from noise to data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mimflow.nn.affine import at_least_fp32
from mimflow.nn.draws import Draws
from mimflow.nn.noise import draw_time
from mimflow.nn.path import PathCoefficients, path_coefficients
from mimflow.priors.base import Prior, PriorLoss
from mimflow.priors.spec import Tap, VelocityPriorSpec
from mimflow.spec.shapes import LatentShape


class VelocityOutput(NamedTuple):
    """Where latents move."""

    velocity: Tensor
    """(B, tokens, channels) dx/dt, from noise to data."""
    hidden: Tensor | None = None
    """(B, tokens, width) in raster order: what a `Tap` asked for."""


class VelocityPrior(Prior):
    """A velocity field v(x, t | y) whose flow carries noise at t = 0 to latents at t = 1, trained by regression."""

    def __init__(self, spec: VelocityPriorSpec, latent: LatentShape):
        super().__init__()
        self.spec = spec
        self.latent = latent

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, tap: Tap | None = None) -> VelocityOutput:
        """x (B, tokens, channels) at times t (B,) of classes (B,) → the velocity there, and what `tap` asks for.

        Raises SpecError for a tap of what the prior does not have.
        """
        raise NotImplementedError

    def coefficients(self, t: Tensor) -> PathCoefficients:
        """The coefficients of the prior's path at times t."""
        return path_coefficients(self.spec.path, t)

    def training_loss(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> PriorLoss:
        """Mean squared error of the velocity, one t and one noise a sample; logged as `velocity`."""
        latents = at_least_fp32(latents)
        noise = torch.randn_like(latents)
        t = draw_time(self.spec.t, latents)
        at = self.coefficients(t)
        read = latents.detach() if self.spec.detach_input else latents
        aimed = latents.detach() if self.spec.detach_target else latents
        output: VelocityOutput = self(at.mix(read, noise), t.flatten(), labels, tap)
        loss = F.mse_loss(at_least_fp32(output.velocity), at.velocity(aimed, noise))
        return PriorLoss(loss, {"velocity": loss}, output.hidden)

    @torch.no_grad()
    def noise(self, draws: Draws) -> Tensor:
        """(B, tokens, channels) standard normal, on the CPU."""
        return draws.normal(self.latent.tokens, self.latent.channels)
