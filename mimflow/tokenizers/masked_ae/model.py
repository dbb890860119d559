"""MIMFlow's tokenizer (arXiv 2606.26016)."""

from __future__ import annotations

from functools import partial

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn

from mimflow.compute.devices import send
from mimflow.nn.affine import at_least_fp32
from mimflow.nn.draws import Draws
from mimflow.nn.patchify import unpatchify
from mimflow.nn.vit import Vit, init_linear, learned
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.base import Encoded, Tokenizer
from mimflow.tokenizers.masked_ae.masking import draw_mask, visible
from mimflow.tokenizers.masked_ae.spec import MaskedAeSpec, NoMask, UniformMask, VitSpec
from mimflow.tokenizers.masked_ae.timm_vit import load_vit
from mimflow.weights.given import given_file


def _vit(spec: VitSpec, latents: int, side: int, rotary: bool) -> Vit:
    """A transformer over a class token, the latents and a grid of patches."""
    return Vit(
        spec.width,
        spec.layers,
        spec.heads,
        prefix=1 + latents,
        side=side,
        rotary=rotary,
        layer_scale=spec.layer_scale,
        drop_path=spec.drop_path,
    )


class Encoder(nn.Module):
    """Patches, some of them hidden, → latent tokens: learned queries attend to them in every layer."""

    def __init__(self, spec: MaskedAeSpec, image: ImageShape):
        super().__init__()
        width = spec.encoder.width
        side = spec.patch_grid(image)
        self.patch_embed = PatchEmbed(image.size, spec.patch_size, image.channels, width)
        self.cls_token = learned(1, 1, width)
        self.pos_embed = learned(1, 1 + side * side, width)
        replaces = not isinstance(spec.mask, NoMask) and spec.mask.style == "replace"
        self.mask_token = learned(1, 1, width) if replaces else None
        self.latent_tokens = learned(1, spec.latents, width)
        self.latent_positions = learned(1, spec.latents, width)
        self.vit = _vit(spec.encoder, spec.latents, side, spec.rotary)
        self.projection = nn.Linear(width, spec.channels)
        self.projection.apply(partial(init_linear, width=width))

    def tokens(self, images: Tensor, mask: Tensor | None, layer: int | None = None) -> Tensor:
        """Images (B, C, H, W) and a mask (B, patches) → latent tokens (B, latents, width), before the projection.

        Of the whole transformer, or after one of its layers.
        """
        batch = len(images)
        patches = self.patch_embed(images)
        if mask is not None and self.mask_token is not None:
            patches = torch.where(send(mask, patches.device)[..., None], self.mask_token.to(patches.dtype), patches)
        patches = patches + self.pos_embed[:, 1:]
        kept = real = None
        if mask is not None and self.mask_token is None:
            kept, real = visible(mask)
            kept = send(kept, patches.device)
            real = None if real is None else send(real, patches.device)
            patches = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[2]))
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        latents = (self.latent_tokens + self.latent_positions).expand(batch, -1, -1)
        h = self.vit(torch.cat([cls, latents, patches], 1), kept, real, layer)
        return h[:, 1 : 1 + latents.shape[1]]

    def forward(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """Images (B, C, H, W) and a mask (B, patches) → latents (B, latents, channels), before any norm."""
        return self.projection(self.tokens(images, mask))


class Decoder(nn.Module):
    """Latent tokens → images: copies of a learned token, one for each patch, attend to the latents in every layer."""

    def __init__(self, spec: MaskedAeSpec, image: ImageShape):
        super().__init__()
        width = spec.decoder.width
        side = spec.patch_grid(image)
        self.grid = (side, side)
        self.patch_size = spec.patch_size
        self.embed = nn.Linear(spec.channels, width)
        self.cls_token = learned(1, 1, width)
        self.mask_token = learned(1, 1, width)
        self.latent_positions = learned(1, spec.latents, width)
        self.pos_embed = learned(1, side * side, width) if spec.decoder.absolute_positions else None
        self.vit = _vit(spec.decoder, spec.latents, side, spec.rotary)
        self.to_pixels = nn.Linear(width, image.channels * spec.patch_size**2)
        for linear in (self.embed, self.to_pixels):
            linear.apply(partial(init_linear, width=width))

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (B, latents, channels) → images (B, C, H, W)."""
        batch, count, _ = latents.shape
        known = self.embed(latents) + self.latent_positions
        patches = self.mask_token.expand(batch, self.grid[0] * self.grid[1], -1)
        if self.pos_embed is not None:
            patches = patches + self.pos_embed
        h = self.vit(torch.cat([self.cls_token.expand(batch, -1, -1), known, patches], 1))
        return unpatchify(self.to_pixels(h[:, 1 + count :]), self.patch_size, self.grid)


class BatchNormOfLatents(nn.BatchNorm1d):
    """Each dimension of each token to mean 0 and variance 1 over the batch, nothing learned.

    Running statistics are those of latents in training mode, masked ones if they were, and evaluation uses them for
    whole images too: the prior and the decoder know latents on that scale.
    """

    def __init__(self, tokens: int, channels: int):
        super().__init__(tokens * channels, affine=False)

    def forward(self, latents: Tensor) -> Tensor:
        return super().forward(latents.flatten(1)).view_as(latents)


def _latent_norm(spec: MaskedAeSpec) -> nn.Module:
    match spec.latent_norm:
        case "layer":
            return nn.LayerNorm(spec.channels, elementwise_affine=False)
        case "batch":
            return BatchNormOfLatents(spec.latents, spec.channels)
        case _:
            return nn.Identity()


class MaskedAutoencoder(Tokenizer):
    """A 1-D sequence of latents from the visible patches of an image, and the whole image back from them.

    Latents are in at least float32, also under autocast: noise is added to them.
    """

    def __init__(self, spec: MaskedAeSpec, image: ImageShape):
        super().__init__()
        self.spec = spec
        self.patches = spec.patch_grid(image) ** 2
        self.encoder = Encoder(spec, image)
        self.latent_norm = _latent_norm(spec)
        self.decoder = Decoder(spec, image)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → latents (B, latents, channels) of whole images."""
        return self._encode(images, None)

    def encode_for_training(self, images: Tensor, masked: bool, draws: Draws | None = None) -> Encoded:
        """Latents of the visible patches, and the mask (B, patches) if `masked` and the spec has one."""
        if not masked or isinstance(self.spec.mask, NoMask):
            return Encoded(self.encode(images), None)
        mask = draw_mask(self.spec.mask, len(images), self.patches, draws)
        return Encoded(self._encode(images, mask), send(mask, images.device))

    def encode_hiding(self, images: Tensor, ratio: float, draws: Draws) -> Tensor:
        """Latents (B, latents, channels) of images without ⌈patches · ratio⌉ of their patches."""
        mask = draw_mask(UniformMask(low=ratio, high=ratio), len(images), self.patches, draws)
        return self._encode(images, mask)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, latents, channels) → images (B, C, H, W), not clamped."""
        return self.decoder(latents)

    def representation(self, images: Tensor, where: str) -> Tensor:
        """`before_projection`: the encoder's tokens (B, width), as MIMFlow probes them; `latents`: (B, channels)."""
        if where == "before_projection":
            return self.encoder.tokens(images, None).mean(1)
        return super().representation(images, where)

    def hidden(self, images: Tensor, layer: int) -> Tensor:
        return self.encoder.tokens(images, None, layer).mean(1)

    def decoder_modules(self) -> list[str]:
        return ["decoder"]

    def decoder_transformer(self) -> str | None:
        return "decoder.vit"

    def last_layer(self) -> Tensor:
        """The linear map to pixels."""
        return self.decoder.to_pixels.weight

    def load_given_weights(self) -> bool:
        """The encoder's transformer from a file in timm's naming; latent queries and projection stay fresh."""
        weights = self.spec.encoder.weights
        if weights is not None:
            load_vit(self.encoder, given_file(weights, "the encoder's weights (a ViT in timm's naming)"))
        return False

    def _encode(self, images: Tensor, mask: Tensor | None) -> Tensor:
        latents = self.encoder(images, mask)
        return self.latent_norm(at_least_fp32(latents))
