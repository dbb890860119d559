"""What a tokenizer does."""

from __future__ import annotations

from torch import Tensor, nn


class Tokenizer(nn.Module):
    """Images to latents and back. Built as `Tokenizer(spec, image: ImageShape)`."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → latents (B, tokens, channels)."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, tokens, channels) → images (B, C, H, W), not clamped."""
        raise NotImplementedError
