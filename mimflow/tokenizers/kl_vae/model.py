"""The KL-VAE (LDM, arXiv 2112.10752; MAR, arXiv 2406.11838), and SimFlow's of fixed variance (arXiv 2512.04084)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mimflow.errors import DataError
from mimflow.nn.affine import at_least_fp32
from mimflow.nn.draws import Draws
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.base import Encoded, Posterior, Tokenizer
from mimflow.tokenizers.kl_vae.layers import Decoder, Encoder
from mimflow.tokenizers.kl_vae.ldm import load_ldm
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec, LearnableVariance
from mimflow.weights.given import given_file

LOG_VARIANCES = (-30.0, 20.0)
"""What log-variances are clamped to (LDM)."""


class KlVae(Tokenizer):
    """A grid of latents in raster order. They are in at least float32, also under autocast: noise is added to them."""

    scale: Tensor | float

    def __init__(self, spec: KlVaeSpec, image: ImageShape):
        super().__init__()
        self.spec = spec
        if isinstance(spec.scale, float):
            self.scale = spec.scale
        else:
            self.register_buffer("scale", torch.ones(()))
        side = image.size // spec.reduction
        self.grid = (side, side)
        self.encoder = Encoder(spec, image.channels)
        self.quant_conv = nn.Conv2d(spec.outputs, spec.moments, 1)
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
        return self.posterior(images).mean * self.scale

    def encode_for_training(self, images: Tensor, masked: bool, draws: Draws | None = None) -> Encoded:
        """A draw from the posterior (B, tokens, channels), scaled; its mean where the spec does not sample."""
        return self.encode_with_posterior(images, masked, draws)[0]

    def encode_with_posterior(
        self, images: Tensor, masked: bool, draws: Draws | None = None
    ) -> tuple[Encoded, Posterior]:
        """A draw from the posterior, scaled, and the posterior before the scale."""
        posterior = self.posterior(images)
        return Encoded(self.latents_of(posterior, draws), None), posterior

    def latents_of(self, posterior: Posterior, draws: Draws | None = None) -> Tensor:
        """A draw from a posterior (B, tokens, channels), scaled; its mean where the spec does not sample."""
        return (posterior.sample(draws) if self.spec.samples else posterior.mean) * self.scale

    def latent_variance(self, posterior: Posterior | None) -> Tensor | None:
        if posterior is None or posterior.log_variance is None or not self.spec.samples:
            return None
        return posterior.log_variance.exp() * self.scale**2

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, tokens, channels) → images (B, C, H, W), not clamped."""
        grid = (latents / self.scale).transpose(1, 2).unflatten(2, self.grid)
        return self.decoder(self.post_quant_conv(grid))

    @torch.no_grad()
    def fit_scale(self, batches: Iterable[Tensor]) -> float:
        """One over the standard deviation of what training sees, over all images, tokens and channels together.

        Of draws from a posterior it is that of the mixture of all posteriors: nothing is drawn.
        """
        assert isinstance(self.scale, Tensor), "refused by LatentScaleSpec.system_problems"
        count, total, squares = 0, 0.0, 0.0
        for images in batches:
            posterior = self.posterior(images)
            mean = posterior.mean.double()
            count, total, squares = (
                count + mean.numel(),
                total + mean.sum().item(),
                squares + mean.square().sum().item(),
            )
            if posterior.log_variance is not None and self.spec.samples:
                squares += posterior.log_variance.double().exp().sum().item()
        variance = squares / count - (total / count) ** 2
        if not variance > 0:
            raise DataError(f"the latents of all images are {total / count:.4g}: they have no spread to be scaled by")
        self.scale.fill_(variance**-0.5)
        return self.scale.item()

    def decoder_modules(self) -> list[str]:
        return ["post_quant_conv", "decoder"]

    def last_layer(self) -> Tensor:
        """The last convolution (LDM)."""
        return self.decoder.conv_out.weight

    def load_given_weights(self) -> bool:
        """All weights from a file in LDM's naming, but for a scale that is measured."""
        if self.spec.weights is None:
            return False
        load_ldm(self, given_file(self.spec.weights, "the KL-VAE's weights (LDM's naming)"))
        return not self.spec.measures_scale
