"""The KL-VAE (LDM, arXiv 2112.10752; MAR, arXiv 2406.11838), and SimFlow's of fixed variance (arXiv 2512.04084)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimflow.nn.affine import at_least_fp32
from mimflow.nn.draws import Draws, normal_like
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.base import Encoded, Tokenizer
from mimflow.tokenizers.kl_vae.layers import Decoder, Encoder
from mimflow.tokenizers.kl_vae.ldm import load_ldm
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec, LearnableVariance
from mimflow.weights.given import given_file

LOG_VARIANCES = (-30.0, 20.0)
"""What log-variances are clamped to (LDM)."""


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


class KlVae(Tokenizer):
    """A grid of latents in raster order. They are in at least float32, also under autocast: noise is added to them."""

    def __init__(self, spec: KlVaeSpec, image: ImageShape):
        super().__init__()
        self.spec = spec
        side = image.size // spec.reduction
        self.grid = (side, side)
        self.encoder = Encoder(spec, image.channels)
        self.quant_conv = nn.Conv2d(spec.outputs, spec.outputs, 1)
        self.latent_norm = (
            nn.LayerNorm(spec.channels, elementwise_affine=False) if spec.latent_norm == "layer" else nn.Identity()
        )
        self.post_quant_conv = nn.Conv2d(spec.channels, spec.channels, 1)
        self.decoder = Decoder(spec, image.channels)

    def posterior(self, images: Tensor) -> Posterior:
        """Images (B, C, H, W) in [−1, 1] → the distribution of their latents."""
        parameters = at_least_fp32(self.quant_conv(self.encoder(images)).flatten(2).transpose(1, 2))
        mean = self.latent_norm(parameters[..., : self.spec.channels])
        if not isinstance(self.spec.variance, LearnableVariance):
            return Posterior(mean, None)
        return Posterior(mean, parameters[..., self.spec.channels :].clamp(*LOG_VARIANCES))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → the posterior's mean (B, tokens, channels), scaled."""
        return self.posterior(images).mean * self.spec.scale

    def encode_for_training(self, images: Tensor, masked: bool, draws: Draws | None = None) -> Encoded:
        """A draw from the posterior (B, tokens, channels), scaled; its mean where the spec does not sample."""
        return self._encode(self.posterior(images), draws)

    def encode_with_divergence(self, images: Tensor, masked: bool) -> tuple[Encoded, Tensor | None]:
        """A draw from the posterior, and the posterior's divergence from the standard normal (B,), before the scale."""
        posterior = self.posterior(images)
        return self._encode(posterior, None), posterior.divergence()

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, tokens, channels) → images (B, C, H, W), not clamped."""
        grid = (latents / self.spec.scale).transpose(1, 2).unflatten(2, self.grid)
        return self.decoder(self.post_quant_conv(grid))

    def decoder_modules(self) -> list[str]:
        return ["post_quant_conv", "decoder"]

    def last_layer(self) -> Tensor:
        """The last convolution (LDM)."""
        return self.decoder.conv_out.weight

    def load_given_weights(self) -> None:
        """All weights from a file in LDM's naming."""
        if self.spec.weights is not None:
            load_ldm(self, given_file(self.spec.weights, "the KL-VAE's weights (LDM's naming)"))

    def _encode(self, posterior: Posterior, draws: Draws | None) -> Encoded:
        latents = posterior.sample(draws) if self.spec.samples else posterior.mean
        return Encoded(latents * self.spec.scale, None)
