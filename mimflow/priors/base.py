"""What a flow prior does."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mimflow.priors.spec import Tap

NULL_CLASS = -1
"""The label of the null class, in every tensor of labels."""


class FlowOutput(NamedTuple):
    """Where latents land and by how much they were stretched."""

    z: Tensor
    """(B, tokens, channels), standard normal under the model."""
    logdet: Tensor
    """(B,) log |det ∂z/∂x|, summed over all dimensions, in nats."""
    hidden: Tensor | None = None
    """(B, tokens, width) in raster order: what a `Tap` asked for."""


class FlowPrior(nn.Module):
    """A density over latents by an invertible map. Built as `Prior(spec, latent: LatentShape, num_classes: int)`.

    Labels are (B,) integers; `NULL_CLASS` asks for the null class.
    """

    def forward(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> FlowOutput:
        """Density direction: latents (B, tokens, channels) → noise and log-determinant, and what `tap` asks for.

        Raises SpecError for a tap of what the prior does not have.
        """
        raise NotImplementedError

    def inverse(self, z: Tensor, labels: Tensor) -> Tensor:
        """Sampling direction, without guidance: noise (B, tokens, channels) → latents."""
        raise NotImplementedError

    def log_prob(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(B,) log-density of latents in nats, constants included."""
        z, logdet, _ = self(latents, labels)
        dimensions = z[0].numel()
        return logdet - 0.5 * z.flatten(1).square().sum(1) - 0.5 * dimensions * math.log(2 * math.pi)

    def at(self, level: Tensor | float) -> FlowPrior:
        """The density at a noise level, a standard deviation above 0: one for all samples, or one for each, (B,).

        Only of priors whose spec says `noise_levels`; these have a density at a level and none without.
        """
        raise NotImplementedError

    @torch.no_grad()
    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, tokens, channels) of the base distribution, drawn on the CPU so that devices agree."""
        raise NotImplementedError
