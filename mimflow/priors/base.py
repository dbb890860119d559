"""What a prior does, and what a flow does besides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from mimflow.nn.draws import Draws
from mimflow.priors.spec import Tap

if TYPE_CHECKING:
    from mimflow.priors.decoding.spec import JacobiDecoding
    from mimflow.priors.guidance.rules import Guidance

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


class PriorLoss(NamedTuple):
    """What training a prior on a batch of latents minimises."""

    loss: Tensor
    """A scalar, a mean over dimensions."""
    figures: dict[str, Tensor]
    """Scalars for the log."""
    hidden: Tensor | None = None
    """(B, tokens, width) in raster order: what a `Tap` asked for."""


class Prior(nn.Module):
    """A model of latents. Built as `Prior(spec, latent: LatentShape, num_classes: int)`.

    Labels are (B,) integers; `NULL_CLASS` asks for the null class.
    """

    def training_loss(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> PriorLoss:
        """What training minimises on latents (B, tokens, channels), differentiable in them, and what `tap` asks for.

        Raises SpecError for a tap of what the prior does not have.
        """
        raise NotImplementedError

    @torch.no_grad()
    def noise(self, draws: Draws) -> Tensor:
        """(B, tokens, channels) of what the sampling of B images starts from, on the CPU."""
        raise NotImplementedError


class FlowPrior(Prior):
    """A density over latents by an invertible map, trained by its likelihood."""

    def forward(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> FlowOutput:
        """Density direction: latents (B, tokens, channels) → noise and log-determinant, and what `tap` asks for.

        Raises SpecError for a tap of what the prior does not have.
        """
        raise NotImplementedError

    def training_loss(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> PriorLoss:
        """`nll` of the latents."""
        output: FlowOutput = self(latents, labels, tap)
        return PriorLoss(*self.nll(output), output.hidden)

    def nll(self, output: FlowOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """What training minimises of where latents land, `nll_per_dimension`, and figures for the log.

        `nll` among them is that of the density, in the same unit, where a prior is trained by another one's.
        """
        return nll_per_dimension(output)

    def by_block(self, latents: Tensor, labels: Tensor) -> Iterator[FlowOutput]:
        """What `forward` gives, block by block from the data: z and log-determinant up to the end of each.

        The last is that of the whole flow; a flow without blocks is one. (B, tokens, channels) all of them.
        """
        yield self(latents, labels)

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


class GuidablePrior(FlowPrior):
    """A flow of blocks whose sampling can be guided."""

    def inverse(
        self, z: Tensor, labels: Tensor, guidance: Guidance | None = None, decoding: JacobiDecoding | None = None
    ) -> Tensor:
        """Sampling direction: noise (B, tokens, channels) → latents, guided in the blocks that `guidance` names.

        Without `decoding`, token by token.
        """
        raise NotImplementedError


def nll_per_dimension(output: FlowOutput) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean negative log-likelihood in nats per dimension, without the constant ½ log 2π (TARFlow Eq. 6).

    With it for the log: `nll` itself, the mean log-determinant per dimension and the mean of z².
    """
    z, logdet, _ = output
    squares = z.float().square().mean()
    stretch = logdet.float().mean() / z[0].numel()
    nll = 0.5 * squares - stretch
    return nll, {"nll": nll, "logdet": stretch, "z2": squares}
