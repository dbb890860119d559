"""What a tokenizer does."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mimflow.nn.draws import Draws, normal_like


class Encoded(NamedTuple):
    """Latents as training sees them, and what of the image they were made without."""

    latents: Tensor
    """(B, tokens, channels)."""
    mask: Tensor | None
    """(B, patches) bool, True where a patch was masked, raster order; None where nothing is masked."""


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over each image's latents, before their scale."""

    mean: Tensor
    """(B, tokens, channels), float32 at least."""
    log_variance: Tensor | None
    """The same shape; None where the variance is not learned."""

    def sample(self, draws: Draws | None = None) -> Tensor:
        """A draw from `draws` or torch's default generator; the mean where the variance is not learned."""
        if self.log_variance is None:
            return self.mean
        return self.mean + torch.exp(0.5 * self.log_variance) * normal_like(self.mean, draws)

    def divergence(self) -> Tensor | None:
        """KL(posterior ‖ N(0, I)) of each image (B,): ½ Σ (μ² + σ² − 1 − log σ²) nats over all dimensions."""
        if self.log_variance is None:
            return None
        terms = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * terms.flatten(1).sum(1)

    def entropy(self) -> Tensor | None:
        """Entropy of each image's latents (B,): ½ Σ log 2πe σ² nats over all dimensions."""
        if self.log_variance is None:
            return None
        return 0.5 * (self.log_variance + math.log(2 * math.pi * math.e)).flatten(1).sum(1)


class Tokenizer(nn.Module):
    """Images to latents and back. Built as `Tokenizer(spec, image: ImageShape)`."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → latents (B, tokens, channels) of whole images: no mask, no noise."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, tokens, channels) → images (B, C, H, W), not clamped, differentiable."""
        raise NotImplementedError

    def encode_for_training(self, images: Tensor, masked: bool, draws: Draws | None = None) -> Encoded:
        """Images (B, C, H, W) in [−1, 1] → latents and mask: what any objective trains on.

        `masked` asks for the masking that the spec describes, in training and evaluation mode alike: whether images
        are masked is its caller's to say. A tokenizer that does not mask ignores it. One whose spec `samples` draws
        from its posterior, frozen or not. What is random comes from `draws`, each image's from its own, or from torch's
        default generator.
        """
        return Encoded(self.encode(images), None)

    def encode_with_posterior(
        self, images: Tensor, masked: bool, draws: Draws | None = None
    ) -> tuple[Encoded, Posterior | None]:
        """`encode_for_training`, and the distribution that its latents are of; None where a tokenizer has none."""
        return self.encode_for_training(images, masked, draws), None

    def latent_variance(self, posterior: Posterior | None) -> Tensor | None:
        """Variance of the latents that `encode_with_posterior` draws, given their image, in their shape.

        None where it draws none; `posterior` is what it gave.
        """
        return None

    def posterior(self, images: Tensor) -> Posterior:
        """Images (B, C, H, W) in [−1, 1] → the distribution of their latents, before their scale.

        For tokenizers whose spec `stores_latents` alone, like `latents_of`.
        """
        raise NotImplementedError

    def latents_of(self, posterior: Posterior, draws: Draws | None = None) -> Tensor:
        """What training sees (B, tokens, channels) of images of this posterior: `encode_for_training` without them."""
        raise NotImplementedError

    def encode_hiding(self, images: Tensor, ratio: float, draws: Draws) -> Tensor:
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

    def hidden(self, images: Tensor, layer: int) -> Tensor:
        """Features (B, F) of whole images after one layer of the encoder, a mean over the latents' tokens.

        For tokenizers whose spec has `encoder_layers` alone.
        """
        raise NotImplementedError

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

    def fit_scale(self, batches: Iterable[Tensor]) -> float:
        """Set the scale from the latents of images (B, C, H, W), which come in batches, and return it.

        For tokenizers whose spec `measures_scale` alone. DataError if their latents do not vary.
        """
        raise NotImplementedError

    def load_given_weights(self) -> bool:
        """Load the files of weights that the spec names to start from; whether it has all that it needs by that.

        For the first phase of training, and for runs without any: a trained tokenizer needs none of them. ArtifactError
        if one is missing or does not fit.
        """
        return False
