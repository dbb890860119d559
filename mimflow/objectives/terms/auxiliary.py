"""Auxiliary decoders: what a frozen network sees at masked places, predicted from the latents (MIMFlow; MAETok)."""

from __future__ import annotations

import torch
from timm.layers import AttentionRope, Mlp, RotaryEmbeddingMixed
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.nn.attention import fused_is_faster, product_dtype
from mimflow.nn.modules import ModulesOf
from mimflow.nn.vit import THETA, init_linear, learned
from mimflow.objectives.terms.spec import Auxiliary
from mimflow.objectives.terms.supervision import Distance, Supervision
from mimflow.spec.shapes import LatentShape


class ModulatedLayer(nn.Module):
    """A pre-norm layer whose norms have no weights: LN(x) · scale + shift on the latents' rows, LN(x) on the image's.

    Scale and shift are Linear(SiLU(latent)), zero at the start, with no 1 added: the latents' rows start at zero.
    """

    def __init__(self, width: int, heads: int, latent: LatentShape):
        super().__init__()
        self.attention = AttentionRope(width, heads, num_prefix_tokens=latent.tokens)
        self.mlp = Mlp(width, 4 * width)
        self.apply(lambda module: init_linear(module, width))
        self.modulation = nn.Linear(latent.channels, 4 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, h: Tensor, latents: Tensor, rotation: Tensor) -> Tensor:
        """(B, T + P, width), the T latents' rows first, and the latents (B, T, channels) themselves."""
        scale, shift, mlp_scale, mlp_shift = self.modulation(F.silu(latents)).chunk(4, dim=-1)
        h = h + self.attention(_modulated(h, scale, shift), rope=rotation)
        return h + self.mlp(_modulated(h, mlp_scale, mlp_shift))


def _modulated(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normal = F.layer_norm(h, h.shape[-1:], eps=1e-6)
    tokens = scale.shape[1]
    return torch.cat([normal[:, :tokens] * scale + shift, normal[:, tokens:]], dim=1)


class AuxiliaryDecoder(Supervision):
    """Latents → features at each patch of the image, from copies of a mask token with rotary positions."""

    def __init__(self, spec: Auxiliary, latent: LatentShape, grid: int):
        super().__init__(spec, grid**2)
        self.spec = spec
        self.grid = grid
        self.embed = nn.Linear(latent.channels, spec.width)
        self.latent_positions = learned(1, latent.tokens, spec.width)
        self.mask_token = learned(1, 1, spec.width)
        self.layers = ModulesOf(ModulatedLayer(spec.width, spec.heads, latent) for _ in range(spec.layers))
        self.rotary = RotaryEmbeddingMixed(spec.width, spec.layers, spec.heads, THETA, feat_shape=[grid, grid])
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, spec.network.channels)
        for linear in (self.embed, self.head):
            init_linear(linear, spec.width)

    def predict(self, latents: Tensor) -> Tensor:
        """Latents (B, T, channels) → (B, grid², F) in raster order."""
        known = self.embed(latents) + self.latent_positions
        h = torch.cat([known, self.mask_token.expand(len(latents), self.grid**2, -1)], dim=1)
        fused = fused_is_faster(h.device, product_dtype(h), h.shape[1])
        for layer, rotation in zip(self.layers, self.rotary.get_embed(), strict=True):
            layer.attention.fused_attn = fused
            h = layer(h, latents, rotation)
        return self.head(self.norm(h[:, latents.shape[1] :]))

    def forward(self, latents: Tensor, features: Tensor, mask: Tensor | None) -> Distance:
        """Noisy latents, a network's features (B, side², F), the mask (B, grid²) → mean of −cos over what counts."""
        wanted = to_grid(self.targets(features), self.grid)
        own = -F.cosine_similarity(self.predict(latents).float(), wanted, dim=-1)
        constant = self.of_constant(wanted)
        if not self.spec.mask_only:
            return Distance(own.mean(), constant.mean())
        if mask is None:
            raise ValueError("only masked patches count, and nothing was masked")
        return Distance(masked_mean(own, mask), masked_mean(constant, mask))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, P) where the mask (B, P) is True, over the whole batch; 0 if it is nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def to_grid(features: Tensor, grid: int) -> Tensor:
    """A map (B, side², F) → (B, grid², F): average-pooled, or repeated where the map is smaller."""
    side = round(features.shape[1] ** 0.5)
    if side == grid:
        return features
    pooled = F.adaptive_avg_pool2d(features.transpose(1, 2).unflatten(2, (side, side)), grid)
    return pooled.flatten(2).transpose(1, 2)
