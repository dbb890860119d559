"""The block that transformer flows are stacks of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.nn.affine import Affine, at_least_fp32
from mimflow.nn.modulation import Modulation, modulate
from mimflow.nn.noise_level import NoiseLevelEmbedding
from mimflow.nn.norm import make_norm
from mimflow.nn.patchify import group_tokens, ungroup_tokens
from mimflow.nn.rotary import grid_rotation
from mimflow.nn.transformer import Transformer, TransformerLayer, TransformerOptions, Vectors
from mimflow.priors.base import FlowOutput
from mimflow.priors.decoding.branches import Branches
from mimflow.priors.decoding.jacobi import by_jacobi
from mimflow.priors.decoding.spec import JacobiDecoding
from mimflow.priors.decoding.stepwise import token_by_token
from mimflow.priors.guidance.rules import Guidance
from mimflow.spec.shapes import LatentShape

INVERSE_SOFTPLUS_OF_1 = math.log(math.e - 1)
"""What is added before the softplus, so that an output of 0 is a scale of 1 (STARFlow)."""
EMBEDDING_STD = 0.01
"""Of TARFlow's positions and classes."""
CLASS_TABLE_STD = 0.02
"""Of class tables with a null row (DiT)."""


@dataclass(frozen=True)
class BlockOptions:
    """How a block is built; the priors' specs say what each field does."""

    transformer: TransformerOptions
    conditioning: Literal["none", "embedding", "ada_ln_zero", "prefix"]
    position: Literal["learned", "rotary_2d"] = "learned"
    rotary_spare: int = 0
    rotary_side: float | None = None
    start: Literal["shift", "sos"] = "shift"
    scale: Literal["exp", "softplus", "none"] = "exp"
    soft_clip: float | None = None
    final_norm: bool = False
    noise_levels: bool = False
    patch: int = 1


class Conditioning(NamedTuple):
    """What a block makes of classes of shape (…,), each where the block's conditioning uses it."""

    added: Tensor | None = None
    """(…, width), added to every token."""
    prefix: Tensor | None = None
    """(…, width), a token before all others."""
    modulations: list[Vectors | None] | None = None
    """Six vectors (…, width) a layer."""
    final: Vectors | None = None
    """Shift and scale (…, width) after the last layer."""

    def over_tokens(self) -> Conditioning:
        """With an axis for tokens before the last one."""
        modulations = None
        if self.modulations is not None:
            modulations = [None if vectors is None else _over_tokens(vectors) for vectors in self.modulations]
        added, prefix = (None if tensor is None else tensor.unsqueeze(-2) for tensor in (self.added, self.prefix))
        return Conditioning(added, prefix, modulations, None if self.final is None else _over_tokens(self.final))


def _over_tokens(vectors: Vectors) -> Vectors:
    return tuple(vector.unsqueeze(-2) for vector in vectors)


class AutoregressiveBlock(nn.Module):
    """One affine map over the tokens whose shift and log-scale at a token come from the tokens before it.

    Learned positions, tables and hidden states are in raster order outside; a `reverse` block turns the sequence
    around for itself. With a learned start token, T tokens make T predictions; without, the first token passes
    unchanged. A block of `noise_levels` is told, with every batch, the noise level of each sample, and one with a
    `patch` takes squares of the prior's tokens as its tokens: `cut` makes them, `join` is the way back.
    """

    def __init__(
        self,
        options: BlockOptions,
        layers: int,
        latent: LatentShape,
        num_classes: int,
        *,
        index: int,
        reverse: bool,
        shared: Sequence[TransformerLayer] = (),
    ):
        super().__init__()
        # Latents without a grid are a row of tokens here: such a block has no patches to cut.
        self.grid, self.patch = latent.grid or (1, latent.tokens), options.patch
        self.latent = latent = latent.grouped(options.patch)
        self.index = index
        self.reverse = reverse
        self.conditioning = options.conditioning
        self.scale = options.scale
        self.soft_clip = options.soft_clip
        modulated = options.conditioning == "ada_ln_zero"
        layer_options = replace(options.transformer, modulated=modulated)
        width = layer_options.width
        learned = options.position == "learned"

        self.proj_in = nn.Linear(latent.channels, width)
        self.pos_embed = nn.Parameter(EMBEDDING_STD * torch.randn(latent.tokens, width)) if learned else None
        self.class_embed = self._class_table(num_classes, width)
        self.start = nn.Parameter(torch.randn(latent.channels)) if options.start == "sos" else None
        self.transformer = Transformer(layer_options, layers, shared=shared)
        self.final_norm: nn.Module = nn.Identity()
        if modulated:
            self.final_norm = make_norm(layer_options.norm, width, affine=False)
        elif options.final_norm:
            self.final_norm = make_norm("rms", width)
        self.final_modulation = Modulation(width, 2) if modulated else None
        self.proj_out = nn.Linear(width, latent.channels * (1 if options.scale == "none" else 2))
        # The released codes leave the bias at its default; with both at zero the flow starts as the identity.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        self.level_embed = NoiseLevelEmbedding(width) if options.noise_levels else None
        self.rotation: Tensor | None
        self.register_buffer("rotation", None if learned else self._rotation(latent, options), persistent=False)

    def _class_table(self, num_classes: int, width: int) -> nn.Parameter | None:
        if self.conditioning == "none":
            return None
        if self.conditioning == "embedding":
            return nn.Parameter(EMBEDDING_STD * torch.randn(num_classes, width))
        return nn.Parameter(CLASS_TABLE_STD * torch.randn(num_classes + 1, width))

    def _rotation(self, latent: LatentShape, options: BlockOptions) -> Tensor:
        """Of the places of the sequence, the prefix first: it stands at the origin.

        Places do not turn around with a block, as in STARFlow's code: whatever token comes first is at row 0, column 0.
        """
        assert latent.grid is not None, "refused by StarflowSpec.latent_problems"
        rotation = grid_rotation(
            latent.grid,
            options.transformer.head_width,
            spare=options.rotary_spare,
            side=options.rotary_side,
        )
        if self.conditioning != "prefix":
            return rotation
        origin = torch.zeros_like(rotation[:1])
        origin[..., 0] = 1.0  # the cosine of no turn
        return torch.cat([origin, rotation])

    def cut(self, latents: Tensor) -> Tensor:
        """The prior's latents (B, tokens, channels) → this block's tokens (B, T, C)."""
        return group_tokens(latents, self.patch, self.grid)

    def join(self, tokens: Tensor) -> Tensor:
        """The inverse of `cut`."""
        return ungroup_tokens(tokens, self.patch, self.grid)

    def join_hidden(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, width) → (B, tokens, width) for the prior's tokens: each has its square's."""
        return self.join(hidden.repeat_interleave(self.patch**2, dim=-1))

    def forward(self, u: Tensor, labels: Tensor, layer: int | None = None, level: Tensor | None = None) -> FlowOutput:
        """Density direction: u (B, T, C), in raster order → z in the same order, and log-determinant (B,).

        With `layer`, that layer's output tokens (B, T, width) too, at the places of the tokens that they predict
        where the block has a start token, and otherwise of those that they read.
        """
        u = self._reorder(u, dim=1)
        affine, hidden = self.predict(u, labels, layer, level)
        z = self._reorder(affine.normalise(u), dim=1)
        return FlowOutput(z, affine.logdet(), None if hidden is None else self._reorder(hidden, dim=1))

    def predict(
        self, u: Tensor, labels: Tensor, layer: int | None = None, level: Tensor | None = None
    ) -> tuple[Affine, Tensor | None]:
        """The map of every token, (B, T, C), in one parallel pass, and what `layer` gives out, (B, T, width).

        u (B, T, C) and both results are in the block's order.
        """
        read = u if self.start is None else torch.cat([self.start.expand(len(u), 1, -1), u[:, :-1]], dim=1)
        conditioning = self.conditioned(labels[:, None], None if level is None else level[:, None])
        h = self.embed(read, slice(None))
        if conditioning.added is not None:
            h = h + conditioning.added
        if conditioning.prefix is not None:
            h = torch.cat([conditioning.prefix, h], dim=1)
        hidden = None
        outputs = self.transformer.layer_outputs(h, conditioning.modulations, self.rotation)
        for number, h in enumerate(outputs):
            if number == layer:
                hidden = h
        if conditioning.prefix is not None:
            h = h[:, 1:]
            hidden = None if hidden is None else hidden[:, 1:]
        output = self.project(h, conditioning)
        if self.start is None:
            # The output at token t is the map of token t + 1; the first token has none: shift and log-scale 0.
            output = F.pad(output[:, :-1], (0, 0, 1, 0))
        return self.affine(output), hidden

    def inverse(
        self,
        z: Tensor,
        labels: Tensor,
        guidance: Guidance | None,
        level: Tensor | None = None,
        decoding: JacobiDecoding | None = None,
    ) -> Tensor:
        """Sampling direction: z (B, T, C) → u (B, T, C), token by token or as `decoding` says."""
        branches, z = Branches(self, labels, guidance, level), self._reorder(z, dim=1)
        u = token_by_token(branches, z) if decoding is None else by_jacobi(branches, z, decoding)
        return self._reorder(u, dim=1)

    def _reorder(self, tokens: Tensor, dim: int) -> Tensor:
        """Raster order ↔ this block's order; its own inverse."""
        return tokens.flip(dim) if self.reverse else tokens

    def embed(self, read: Tensor, place: int | slice) -> Tensor:
        """Tokens (…, C) at `place` of the sequence → (…, width), in the weights' precision even under autocast."""
        h = self.proj_in(read)
        places = self.places()
        return h.to(self.proj_in.weight.dtype) if places is None else h + places[place]

    def places(self) -> Tensor | None:
        """(T, width) what is added to the tokens at the places of the sequence, in the block's order."""
        return None if self.pos_embed is None else self._reorder(self.pos_embed, dim=0)

    def conditioned(self, labels: Tensor, level: Tensor | None = None) -> Conditioning:
        """Of labels (…,), and of noise levels (…,) exactly if the block takes them."""
        conditioning = self._class_conditioning(labels)
        if level is None and self.level_embed is None:
            return conditioning
        if level is None or self.level_embed is None:
            raise ValueError("a flow of noise levels needs one, and no other takes one: ask it through `at`")
        embedded = self.level_embed(level)
        return conditioning._replace(added=embedded if conditioning.added is None else conditioning.added + embedded)

    def _class_conditioning(self, labels: Tensor) -> Conditioning:
        if self.class_embed is None:
            return Conditioning()
        classes = self._classes(self.class_embed, labels)
        if self.final_modulation is not None:
            modulations = self.transformer.modulations(classes)
            return Conditioning(modulations=modulations, final=self.final_modulation(classes))
        return Conditioning(prefix=classes) if self.conditioning == "prefix" else Conditioning(added=classes)

    def _classes(self, table: Tensor, labels: Tensor) -> Tensor:
        """Labels (…,) → embeddings (…, width). The null class, −1, is the last row: learned, or the table's mean."""
        if self.conditioning == "embedding":
            table = torch.cat([table, table.mean(0, keepdim=True)])
        return table[labels]

    def project(self, h: Tensor, conditioning: Conditioning) -> Tensor:
        """What the last layer returns, (…, width) → (…, 2C), or (…, C) without a scale."""
        return self.proj_out(self.normed(h, conditioning))

    def normed(self, h: Tensor, conditioning: Conditioning) -> Tensor:
        """What the last layer returns, (…, width), as the output projection reads it."""
        h = self.final_norm(h)
        return h if conditioning.final is None else modulate(h, *conditioning.final)

    def affine(self, output: Tensor) -> Affine:
        """What `project` returns as shift and log-scale (…, C)."""
        if self.soft_clip is not None:
            output = self.soft_clip * torch.tanh(output / self.soft_clip)
        if self.scale == "none":
            return Affine(output, torch.zeros_like(output))
        log_scale, shift = output.chunk(2, dim=-1)
        if self.scale == "softplus":
            log_scale = F.softplus(at_least_fp32(log_scale) + INVERSE_SOFTPLUS_OF_1).log()
        return Affine(shift, log_scale)
