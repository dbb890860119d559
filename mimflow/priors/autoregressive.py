"""Flows that are stacks of autoregressive blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mimflow.nn.draws import Draws
from mimflow.nn.modules import ModulesOf
from mimflow.nn.transformer import TransformerLayer
from mimflow.priors.base import FlowOutput, GuidablePrior
from mimflow.priors.block import AutoregressiveBlock, BlockOptions
from mimflow.priors.decoding.spec import JacobiDecoding
from mimflow.priors.guidance.rules import Guidance
from mimflow.priors.spec import Tap
from mimflow.spec.shapes import LatentShape


class AutoregressivePrior(GuidablePrior):
    """Blocks from data to noise, each of which predicts a token's affine map from the tokens before it.

    Neighbouring blocks run in opposite directions along the raster.
    """

    def __init__(self, blocks: list[AutoregressiveBlock], latent: LatentShape):
        super().__init__()
        self.latent = latent
        self.blocks = ModulesOf(blocks)

    def forward(
        self, latents: Tensor, labels: Tensor, tap: Tap | None = None, level: Tensor | None = None
    ) -> FlowOutput:
        """Latents (B, T, C), labels (B,) → z and summed log-determinant (TARFlow Eq. 4–6).

        `level` (B,) is for priors of noise levels, which need it.
        """
        *_, output = self.by_block(latents, labels, tap, level)
        assert tap is None or output.hidden is not None, "refused by PriorSpec.tap_problems"
        return output

    def by_block(
        self, latents: Tensor, labels: Tensor, tap: Tap | None = None, level: Tensor | None = None
    ) -> Iterator[FlowOutput]:
        """`forward`, block by block; the tap's hidden states from its block on.

        A block without layers gives what it was given once more.
        """
        z, logdet, hidden = latents, latents.new_zeros(len(latents)), None
        following = 0
        for block in self.blocks:
            for _ in range(following, block.index):
                yield FlowOutput(z, logdet, hidden)
            following = block.index + 1
            layer = tap.layer if tap is not None and tap.block == block.index else None
            tokens, stretched, tapped = block(block.cut(z), labels, layer, level)
            z = block.join(tokens)
            logdet = logdet + stretched
            hidden = hidden if tapped is None else block.join_hidden(tapped)
            yield FlowOutput(z, logdet, hidden)

    def inverse(
        self,
        z: Tensor,
        labels: Tensor,
        guidance: Guidance | None = None,
        decoding: JacobiDecoding | None = None,
        level: Tensor | None = None,
    ) -> Tensor:
        """Noise (B, T, C), labels (B,) → latents (B, T, C), token by token or as `decoding` says.

        The result is an ordinary tensor without a graph.

        `level` (B,) is for priors of noise levels, which need it.
        """
        with torch.inference_mode():
            for index in reversed(range(len(self.blocks))):
                block = self.blocks[index]
                guided = guidance is not None and guidance.guides(index, len(self.blocks))
                z = block.join(block.inverse(block.cut(z), labels, guidance if guided else None, level, decoding))
        return z.clone()  # outside inference mode, so that a denoiser may differentiate at it

    @torch.no_grad()
    def noise(self, draws: Draws) -> Tensor:
        """(B, T, C) standard normal, on the CPU."""
        return draws.normal(self.latent.tokens, self.latent.channels)


def alternating(
    options: list[BlockOptions],
    layers: list[int],
    latent: LatentShape,
    num_classes: int,
    *,
    first_reversed: bool = False,
    shared: Sequence[TransformerLayer] = (),
) -> list[AutoregressiveBlock]:
    """A block for each entry that has layers; neighbours in the list run in opposite directions along the raster."""
    return [
        AutoregressiveBlock(
            choice,
            count,
            latent,
            num_classes,
            index=index,
            reverse=(index % 2 == 1) != first_reversed,
            shared=shared,
        )
        for index, (choice, count) in enumerate(zip(options, layers, strict=True))
        if count > 0
    ]
