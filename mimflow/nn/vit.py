"""Vision transformers with full attention, out of timm's parts."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from timm.layers import RotaryEmbeddingMixed, apply_keep_indices_nlc, calculate_drop_path_rates
from timm.models.eva import EvaBlock
from torch import Tensor, nn
from torch.nn.init import trunc_normal_, zeros_

from mimflow.nn.attention import fused_is_faster, product_dtype
from mimflow.nn.modules import ModulesOf

THETA = 10.0
"""Base of the rotary frequencies (Heo et al., arXiv 2403.13298, RoPE-mixed)."""

STD = 0.02
"""Spread of fresh weights and tokens: timm's, at the width of ViT-B."""

WIDTH_OF_STD = 768


class Vit(nn.Module):
    """Pre-norm transformer layers and a norm after the last, over `prefix` tokens and then those of an image.

    Rotary positions turn queries and keys of the image's tokens only, by row and column in a grid of `side` × `side`;
    their frequencies are learned, for each layer and head. Names of parameters are those of timm's ViT, but for
    `gamma_1` and `gamma_2`, the layers' scales.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        *,
        prefix: int,
        side: int,
        rotary: bool,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = ModulesOf(
            EvaBlock(
                width,
                heads,
                attn_type="rope",
                num_prefix_tokens=prefix,
                init_values=layer_scale,
                drop_path=rate,
                norm_layer=norm,
            )
            for rate in cast(list[float], calculate_drop_path_rates(drop_path, layers))
        )
        self.norm = norm(width)
        self.rotary = RotaryEmbeddingMixed(width, layers, heads, THETA, feat_shape=[side, side]) if rotary else None
        self.apply(partial(init_linear, width=width))

    def forward(
        self, h: Tensor, kept: Tensor | None = None, real: Tensor | None = None, layer: int | None = None
    ) -> Tensor:
        """(B, prefix + patches, width) → the same shape.

        Where only some of the patches are there, `kept` (B, K) says which, and `real` (B, K) which of those are more
        than padding that nothing may attend to. With `layer`, counted from 0, the hidden states after it, not normed.
        """
        rotations = None if self.rotary is None else self.rotary.get_embed()  # (layers, heads, patches, 2 · head width)
        if rotations is not None and kept is not None:
            rotations = apply_keep_indices_nlc(h, rotations, kept).transpose(0, 1)  # (layers, B, heads, K, …)
        seen = None if real is None else _seen(real, h.shape[1])
        fused = fused_is_faster(h.device, product_dtype(h), h.shape[1])
        for index, block in enumerate(self.blocks):
            block.attn.fused_attn = fused
            h = block(h, rope=None if rotations is None else rotations[index], attn_mask=seen)
            if index == layer:
                return h
        return self.norm(h)


def init_linear(module: nn.Module, width: int) -> None:
    """Fresh weights of a linear layer: timm's for ViT-B, wider in narrower networks: signals keep their size."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=STD * (WIDTH_OF_STD / width) ** 0.5)
        if module.bias is not None:
            zeros_(module.bias)


def learned(*shape: int) -> nn.Parameter:
    """Fresh tokens or positions: truncated normal."""
    return nn.Parameter(trunc_normal_(torch.empty(shape), std=STD))


def _seen(real: Tensor, tokens: int) -> Tensor:
    """(B, 1, 1, tokens) bool: all of the prefix and the patches that are real."""
    prefix = real.new_ones(len(real), tokens - real.shape[1])
    return torch.cat([prefix, real], 1)[:, None, None]
