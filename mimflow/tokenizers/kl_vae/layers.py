"""The halves of the KL-VAE (LDM, arXiv 2112.10752). Names of parameters are those of LDM's checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.nn.attention import fused_is_faster
from mimflow.nn.layout import MapLayout
from mimflow.nn.modules import ModulesOf
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec

NORM_EPS = 1e-6


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _norm(groups: int, width: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, width, eps=NORM_EPS)


class ResidualBlock(nn.Module):
    """Twice norm, swish and convolution, beside the identity, or a 1 × 1 convolution where the width changes."""

    def __init__(self, inputs: int, outputs: int, groups: int):
        super().__init__()
        self.norm1 = _norm(groups, inputs)
        self.conv1 = _conv(inputs, outputs)
        self.norm2 = _norm(groups, outputs)
        self.conv2 = _conv(outputs, outputs)
        self.nin_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.nin_shortcut(x) + h


class AttentionBlock(nn.Module):
    """Attention of one head over all places, beside the identity."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.norm = _norm(groups, width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → the same shape."""
        h = self.norm(x)
        queries, keys, values = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        attended = _attention(queries, keys, values)
        return x + self.proj_out(attended.transpose(1, 2).unflatten(2, x.shape[2:]))


def _attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention, all (B, places, width); by the fused kernel where that is the faster."""
    if fused_is_faster(queries.device, queries.dtype, queries.shape[1]):
        return F.scaled_dot_product_attention(queries, keys, values)
    weights = torch.bmm(queries * queries.shape[2] ** -0.5, keys.transpose(1, 2)).softmax(-1)
    return torch.bmm(weights.to(values.dtype), values)


class Downsample(nn.Module):
    """A convolution of stride 2, padded with zeros on the right and at the bottom only."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H / 2, W / 2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Each place four times, then a convolution: as one transposed convolution, of 4 / 9 the multiplications.

    A place is under each tap of the kernel four times, side by side: its part of the result is the kernel laid over
    itself in these four places.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 2 H, 2 W)."""
        taps = self.conv.weight.transpose(0, 1).flip(2, 3)
        for one_later, one_earlier in (((0, 0, 1, 0), (0, 0, 0, 1)), ((1, 0), (0, 1))):  # rows, then columns
            taps = F.pad(taps, one_later) + F.pad(taps, one_earlier)
        return F.conv_transpose2d(x, taps, self.conv.bias, stride=2, padding=1)


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention if asked for."""

    downsample: nn.Module
    """What an encoder puts behind it."""
    upsample: nn.Module
    """What a decoder puts behind it."""

    def __init__(self, inputs: int, width: int, blocks: int, groups: int, *, attends: bool):
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(width if i else inputs, width, groups) for i in range(blocks))
        self.attn = nn.ModuleList(AttentionBlock(width, groups) for _ in range(blocks if attends else 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, width, H, W)."""
        for index, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[index](x)
        return x


class Middle(nn.Module):
    """Two residual blocks with attention between them."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.block_1 = ResidualBlock(width, width, groups)
        self.attn_1 = AttentionBlock(width, groups)
        self.block_2 = ResidualBlock(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """Images (B, C, H, W) → what the posterior is made of, (B, outputs, H / f, W / f)."""

    def __init__(self, spec: KlVaeSpec, channels: int):
        super().__init__()
        widths, last = spec.widths, len(spec.widths) - 1
        self.layout = MapLayout()
        self.conv_in = _conv(channels, widths[0])
        self.down: ModulesOf[Level] = ModulesOf()
        for index, width in enumerate(widths):
            attends = index == last and spec.attention != "none"
            level = Level(widths[max(index - 1, 0)], width, spec.blocks, spec.groups, attends=attends)
            level.downsample = Downsample(width) if index < last else nn.Identity()
            self.down.append(level)
        self.mid = Middle(widths[-1], spec.groups)
        self.norm_out = _norm(spec.groups, widths[-1])
        self.conv_out = _conv(widths[-1], spec.outputs)

    def forward(self, images: Tensor) -> Tensor:
        h = self.conv_in(self.layout(images))
        for level in self.down:
            h = level.downsample(level(h))
        # Planes again: what is drawn for the latents lies as they do.
        return self.conv_out(F.silu(self.norm_out(self.mid(h)))).contiguous()


class Decoder(nn.Module):
    """Latents (B, channels, h, w) → images (B, C, f h, f w), of any range."""

    def __init__(self, spec: KlVaeSpec, channels: int):
        super().__init__()
        widths, last = spec.widths, len(spec.widths) - 1
        self.layout = MapLayout()
        self.conv_in = _conv(spec.channels, widths[-1])
        self.mid = Middle(widths[-1], spec.groups)
        self.up: ModulesOf[Level] = ModulesOf()
        for index, width in enumerate(widths):
            attends = index == last and spec.attention == "both"
            level = Level(widths[min(index + 1, last)], width, spec.blocks + 1, spec.groups, attends=attends)
            level.upsample = Upsample(width) if index > 0 else nn.Identity()
            self.up.append(level)
        self.norm_out = _norm(spec.groups, widths[0])
        self.conv_out = _conv(widths[0], channels)

    def forward(self, latents: Tensor) -> Tensor:
        h = self.mid(self.conv_in(self.layout(latents)))
        for level in reversed(self.up):  # numbered as the encoder's levels are
            h = level.upsample(level(h))
        return self.conv_out(F.silu(self.norm_out(h)))
