"""The pixel tokenizer."""

from __future__ import annotations

from torch import Tensor

from mimflow.nn.patchify import patchify, unpatchify
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.base import Tokenizer
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec


class PixelTokenizer(Tokenizer):
    """Patches of pixels as tokens: no parameters, and `decode(encode(x))` is x to the bit."""

    def __init__(self, spec: PixelTokenizerSpec, image: ImageShape):
        super().__init__()
        self.patch_size = spec.patch_size
        side = image.size // spec.patch_size
        self.grid = (side, side)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) → patches (B, tokens, C · p²), values unchanged."""
        return patchify(images, self.patch_size)

    def decode(self, latents: Tensor) -> Tensor:
        """Patches (B, tokens, C · p²) → images (B, C, H, W), values unchanged."""
        return unpatchify(latents, self.patch_size, self.grid)
