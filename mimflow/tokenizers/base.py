"""What a tokenizer does."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Encoded(NamedTuple):
    """Latents as training sees them, and what of the image they were made without."""

    latents: Tensor
    """(B, tokens, channels)."""
    mask: Tensor | None
    """(B, patches) bool, True where a patch was masked, raster order; None where nothing is masked."""


class Tokenizer(nn.Module):
    """Images to latents and back. Built as `Tokenizer(spec, image: ImageShape)`."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → latents (B, tokens, channels) of whole images: no mask, no noise."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, tokens, channels) → images (B, C, H, W), not clamped, differentiable."""
        raise NotImplementedError

    def encode_for_training(self, images: Tensor, masked: bool) -> Encoded:
        """Images (B, C, H, W) in [−1, 1] → latents and mask: what any objective trains on.

        `masked` asks for the masking that the spec describes, in training and evaluation mode alike: whether images
        are masked is its caller's to say. A tokenizer that does not mask ignores it. One whose spec `samples` draws
        from its posterior, frozen or not.
        """
        return Encoded(self.encode(images), None)

    def encode_with_divergence(self, images: Tensor, masked: bool) -> tuple[Encoded, Tensor | None]:
        """`encode_for_training`, and what a learned posterior's divergence from N(0, I) is, (B,) nats an image.

        None where the tokenizer learns no variance.
        """
        return self.encode_for_training(images, masked), None

    def encode_hiding(self, images: Tensor, ratio: float) -> Tensor:
        """Images (B, C, H, W) → latents (B, tokens, channels) with this share of their patches hidden, at random.

        For tokenizers whose spec `masks` alone.
        """
        raise NotImplementedError

    def representation(self, images: Tensor, where: str) -> Tensor:
        """Features (B, F) of whole images for a probe, a mean over tokens.

        `where` is one of the spec's `representations`; every tokenizer has `latents`.
        """
        if where != "latents":
            raise ValueError(f"{type(self).__name__} has no representation '{where}'")
        return self.encode(images).mean(1)

    def decoder_modules(self) -> list[str]:
        """Names, below the tokenizer, of the sub-modules that `decode` uses and `encode` does not."""
        return []

    def decoder_transformer(self) -> str | None:
        """Name, below the tokenizer, of the transformer that `decode` runs once; None where it has none.

        Its output is one tensor (B, …). What reaches the images past it is a bypass, which training may come to prefer.
        """
        return None

    def last_layer(self) -> Tensor:
        """The weights of the decoder's last layer, for losses that compare gradients there.

        For tokenizers whose spec is `trainable` alone.
        """
        raise NotImplementedError

    def load_given_weights(self) -> None:
        """Load the files of weights that the spec names to start from.

        For the first phase of training alone: a trained tokenizer needs none of them. ArtifactError if one is
        missing or does not fit.
        """
