"""The KL-VAE (LDM, arXiv 2112.10752; MAR, arXiv 2406.11838), and SimFlow's of fixed variance (arXiv 2512.04084)."""

from __future__ import annotations

from torch import Tensor, nn

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

    def __init__(self, spec: KlVaeSpec, image: ImageShape):
        super().__init__()
        self.spec = spec
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
        return self.posterior(images).mean * self.spec.scale

    def encode_for_training(self, images: Tensor, masked: bool, draws: Draws | None = None) -> Encoded:
        """A draw from the posterior (B, tokens, channels), scaled; its mean where the spec does not sample."""
        return self.encode_with_posterior(images, masked, draws)[0]

    def encode_with_posterior(
        self, images: Tensor, masked: bool, draws: Draws | None = None
    ) -> tuple[Encoded, Posterior]:
        """A draw from the posterior, scaled, and the posterior before the scale."""
        posterior = self.posterior(images)
        latents = posterior.sample(draws) if self.spec.samples else posterior.mean
        return Encoded(latents * self.spec.scale, None), posterior

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
