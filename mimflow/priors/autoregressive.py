"""Flows that are stacks of autoregressive blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mimflow.errors import SpecError
from mimflow.priors.base import FlowOutput, FlowPrior
from mimflow.priors.block import AutoregressiveBlock, BlockOptions
from mimflow.priors.spec import Tap
from mimflow.samplers.guidance import Guidance
from mimflow.spec.shapes import LatentShape


class AutoregressivePrior(FlowPrior):
    """Blocks from data to noise, each of which predicts a token's affine map from the tokens before it.

    Neighbouring blocks run in opposite directions along the raster.
    """

    def __init__(self, blocks: list[AutoregressiveBlock], latent: LatentShape):
        super().__init__()
        self.latent = latent
        self.blocks = nn.ModuleList(blocks)

    def forward(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> FlowOutput:
        """Latents (B, T, C), labels (B,) → z and summed log-determinant (TARFlow Eq. 4–6)."""
        *_, output = self.by_block(latents, labels, tap)
        if tap is not None and output.hidden is None:
            raise SpecError(f"tap: the prior has no layer {tap.layer} in block {tap.block} (both count from 0)")
        return output

    def by_block(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> Iterator[FlowOutput]:
        """`forward`, block by block; the tap's hidden states from its block on."""
        z, logdet, hidden = latents, latents.new_zeros(len(latents)), None
        for block in self.blocks:
            layer = tap.layer if tap is not None and tap.block == block.index else None
            z, stretched, tapped = block(z, labels, layer)
            logdet = logdet + stretched
            hidden = hidden if tapped is None else tapped
            yield FlowOutput(z, logdet, hidden)

    def inverse(self, z: Tensor, labels: Tensor, guidance: Guidance | None = None) -> Tensor:
        """Noise (B, T, C), labels (B,) → latents (B, T, C), token by token; an ordinary tensor without a graph."""
        with torch.inference_mode():
            for index in reversed(range(len(self.blocks))):
                guided = guidance is not None and guidance.guides(index, len(self.blocks))
                z = self.blocks[index].inverse(z, labels, guidance if guided else None)
        return z.clone()  # outside inference mode, so that a denoiser may differentiate at it

    @torch.no_grad()
    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, T, C) standard normal, on the CPU."""
        return torch.randn(count, self.latent.tokens, self.latent.channels, generator=generator)


def alternating(
    options: list[BlockOptions],
    layers: list[int],
    latent: LatentShape,
    num_classes: int,
    *,
    first_reversed: bool = False,
) -> list[AutoregressiveBlock]:
    """A block for each entry that has layers; neighbours in the list run in opposite directions along the raster."""
    return [
        AutoregressiveBlock(choice, count, latent, num_classes, index=index, reverse=(index % 2 == 1) != first_reversed)
        for index, (choice, count) in enumerate(zip(options, layers, strict=True))
        if count > 0
    ]
