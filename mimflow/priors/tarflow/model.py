"""TARFlow (Zhai et al., arXiv 2412.06329)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mimflow.nn.draws import Draws
from mimflow.nn.transformer import TransformerOptions
from mimflow.priors.autoregressive import AutoregressivePrior, alternating
from mimflow.priors.base import FlowOutput
from mimflow.priors.block import BlockOptions
from mimflow.priors.spec import Tap
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import LatentShape

VARIANCE_RATE = 0.1
"""How far one training step moves the volume-preserving mode's variance."""


class Tarflow(AutoregressivePrior):
    """Blocks from data to noise; those of odd index run backwards along the raster."""

    def __init__(self, spec: TarflowSpec, latent: LatentShape, num_classes: int):
        options = BlockOptions(
            TransformerOptions(spec.width, spec.head_width, spec.expansion),
            conditioning="embedding" if spec.class_conditional else "none",
            scale="none" if spec.volume_preserving else "exp",
        )
        super().__init__(alternating([options] * len(spec.blocks), spec.blocks, latent, num_classes), latent)
        self.variance: Tensor | None
        variance = torch.ones(latent.tokens, latent.channels) if spec.volume_preserving else None
        self.register_buffer("variance", variance)

    def by_block(
        self, latents: Tensor, labels: Tensor, tap: Tap | None = None, level: Tensor | None = None
    ) -> Iterator[FlowOutput]:
        """As of every flow of blocks.

        In training, volume-preserving mode takes the batch's second moments into its running variance at the end.
        """
        output = None
        for output in super().by_block(latents, labels, tap, level):
            yield output
        if self.variance is not None and self.training and output is not None:
            with torch.no_grad():
                self.variance.lerp_(output.z.square().mean(0).to(self.variance.dtype), VARIANCE_RATE)

    def nll(self, output: FlowOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """As of every flow; the volume-preserving mode is trained as if its noise were standard normal, as released.

        Its `nll` for the log is that of its density, whose noise has the variance.
        """
        loss, figures = super().nll(output)
        if self.variance is not None:
            variance = self.variance.float()
            spread = (output.z.detach().float().square() / variance + variance.log()).mean()
            figures |= {"nll": 0.5 * spread - figures["logdet"]}
        return loss, figures

    def log_prob(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(B,) log-density in nats; the volume-preserving mode's base is N(0, diag(variance))."""
        if self.variance is None:
            return super().log_prob(latents, labels)
        z, logdet, _ = self(latents, labels)
        base = -0.5 * (z.square() / self.variance + self.variance.log() + math.log(2 * math.pi))
        return logdet + base.flatten(1).sum(1)

    @torch.no_grad()
    def noise(self, draws: Draws) -> Tensor:
        """(B, T, C) of the base distribution, on the CPU."""
        noise = super().noise(draws)
        return noise if self.variance is None else noise * self.variance.cpu().sqrt()
