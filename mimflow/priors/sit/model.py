"""SiT (Ma et al., arXiv 2401.08740)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimflow.nn.modulation import Modulation, modulate
from mimflow.nn.norm import make_norm
from mimflow.nn.patchify import group_tokens, ungroup_tokens
from mimflow.nn.sinusoid import TimeEmbedding, grid_sinusoid
from mimflow.nn.transformer import Transformer, TransformerOptions
from mimflow.priors.sit.spec import SitSpec
from mimflow.priors.spec import Tap
from mimflow.priors.velocity import VelocityOutput, VelocityPrior
from mimflow.spec.shapes import LatentShape

EMBEDDING_STD = 0.02
"""Of the class table and learned positions."""


class Sit(VelocityPrior):
    """Patches of latents through a transformer whose every norm is modulated by time and class (DiT, arXiv 2212.09748).

    The last row of the class table is the null class, which `NULL_CLASS` = −1 indexes.
    """

    def __init__(self, spec: SitSpec, latent: LatentShape, num_classes: int):
        super().__init__(spec, latent)
        width, patch = spec.width, spec.patch_size
        self.patch_size = patch
        # Latents without a grid are a row of tokens here: their patches are single tokens.
        self.grid = latent.grid or (1, latent.tokens)
        patch_grid = (self.grid[0] // patch, self.grid[1] // patch)
        patches = patch_grid[0] * patch_grid[1]

        self.proj_in = nn.Linear(latent.channels * patch**2, width)
        self.pos_embed: Tensor
        if spec.position == "learned":
            self.pos_embed = nn.Parameter(EMBEDDING_STD * torch.randn(patches, width))
        else:
            self.register_buffer("pos_embed", grid_sinusoid(patch_grid, width), persistent=False)
        self.time_embed = TimeEmbedding(width, spec.time_scale)
        self.class_embed = nn.Parameter(EMBEDDING_STD * torch.randn(num_classes + 1, width))
        options = TransformerOptions(width, spec.head_width, spec.expansion, modulated=True, causal=False, gelu="tanh")
        self.transformer = Transformer(options, spec.layers)
        self.final_norm = make_norm("layer", width, affine=False)
        self.final_modulation = Modulation(width, 2)
        self.proj_out = nn.Linear(width, latent.channels * patch**2)
        _xavier(self.proj_in, *(part for layer in self.transformer.layers for part in (layer.attention, layer.mlp)))
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, tap: Tap | None = None) -> VelocityOutput:
        """x (B, T, C) at times t (B,) of classes (B,) → the velocity (B, T, C).

        A tap is of block 0; its hidden states are one a patch.
        """
        there = tap is None or (tap.block == 0 and tap.layer < len(self.transformer.layers))
        assert there, "refused by PriorSpec.tap_problems"
        condition = (self.time_embed(t) + self.class_embed[labels])[:, None]
        h = self.proj_in(group_tokens(x, self.patch_size, self.grid)) + self.pos_embed
        hidden = None
        outputs = self.transformer.layer_outputs(h, modulations=self.transformer.modulations(condition))
        for number, h in enumerate(outputs):
            if tap is not None and number == tap.layer:
                hidden = h
        h = modulate(self.final_norm(h), *self.final_modulation(condition))
        return VelocityOutput(ungroup_tokens(self.proj_out(h), self.patch_size, self.grid), hidden)


def _xavier(*modules: nn.Module) -> None:
    """Fresh linear layers, uniform by fan-in and fan-out (Glorot & Bengio 2010), without bias."""
    for module in modules:
        for linear in module.modules():
            if isinstance(linear, nn.Linear):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
