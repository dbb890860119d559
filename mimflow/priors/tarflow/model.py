"""TARFlow (Zhai et al., arXiv 2412.06329)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.errors import SpecError
from mimflow.nn.affine import Affine
from mimflow.nn.transformer import Transformer
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import FlowOutput
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.samplers.guidance import Guidance
from mimflow.spec.shapes import LatentShape

VARIANCE_RATE = 0.1
"""How far one training step moves the volume-preserving mode's variance."""


class TarflowBlock(nn.Module):
    """One autoregressive affine map over the tokens, forwards or backwards along the sequence.

    Token t's shift b and log-scale a come from the tokens before it; the first passes unchanged.
    """

    def __init__(self, spec: TarflowSpec, layers: int, latent: LatentShape, num_classes: int, *, reverse: bool):
        super().__init__()
        self.reverse = reverse
        self.volume_preserving = spec.volume_preserving
        self.proj_in = nn.Linear(latent.channels, spec.width)
        self.pos_embed = nn.Parameter(0.01 * torch.randn(latent.tokens, spec.width))
        self.class_embed = nn.Parameter(0.01 * torch.randn(num_classes, spec.width)) if spec.class_conditional else None
        self.transformer = Transformer(spec.width, layers, spec.head_width, spec.expansion)
        self.proj_out = nn.Linear(spec.width, latent.channels * (1 if spec.volume_preserving else 2))
        # The released code leaves the bias at its default; with both at zero the flow starts as the identity.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, u: Tensor, labels: Tensor) -> FlowOutput:
        """Density direction: u (B, T, C), in raster order → z in the same order, and log-determinant (B,)."""
        u = self._reorder(u, dim=1)
        affine = self.predict(u, labels)
        return FlowOutput(self._reorder(affine.normalise(u), dim=1), affine.logdet())

    def predict(self, u: Tensor, labels: Tensor, temperature: float = 1.0) -> Affine:
        """The map of every token, (B, T, C), in one parallel pass; u and the result in the block's order."""
        h = self.proj_in(u) + self._reorder(self.pos_embed, dim=0)
        if self.class_embed is not None:
            h = h + self._classes(labels)[:, None]
        output = self.proj_out(self.transformer(h, temperature))
        # The output at token t is the map of token t + 1; the first token has none: shift and log-scale 0.
        return self._affine(F.pad(output[:, :-1], (0, 0, 1, 0)))

    def inverse(self, z: Tensor, labels: Tensor, guidance: Guidance | None) -> Tensor:
        """Sampling direction: z (B, T, C) → u (B, T, C), in T − 1 steps with a key/value cache.

        With guidance, the conditional and the null branch are the two halves of one batch of 2B.
        """
        batch, tokens, _ = z.shape
        steps = tokens - 1
        z = self._reorder(z, dim=1)
        u = torch.empty_like(z)
        u[:, 0] = z[:, 0]

        branches = labels[None] if guidance is None else torch.stack([labels, guidance.null_labels(labels)])
        positions = self._reorder(self.pos_embed, dim=0)
        no_classes = self.pos_embed.new_zeros(len(branches), 1, 1)
        classes = no_classes if self.class_embed is None else self._classes(branches)
        temperature: Tensor | float = 1.0
        if guidance is not None and guidance.temperature != 1.0:
            temperature = torch.tensor([1.0, guidance.temperature], dtype=z.dtype, device=z.device)
            temperature = temperature.repeat_interleave(batch)[:, None, None]
        cache = self.transformer.new_cache(len(branches) * batch, steps)

        for step in range(steps):
            h = (self.proj_in(u[:, step]) + positions[step]) + classes  # (branches, B, width)
            h = self.transformer.step(h.flatten(0, 1), cache, temperature)
            output = self.proj_out(h)
            if guidance is None:
                affine = self._affine(output)
            else:
                conditional, null = (self._affine(half) for half in output.chunk(2))
                affine = guidance.combine(conditional, null, step, steps)
            u[:, step + 1] = affine.denormalise(z[:, step + 1])
        return self._reorder(u, dim=1)

    def _reorder(self, tokens: Tensor, dim: int) -> Tensor:
        """Raster order ↔ this block's order; its own inverse."""
        return tokens.flip(dim) if self.reverse else tokens

    def _classes(self, labels: Tensor) -> Tensor:
        """Labels (…,) → embeddings (…, width). The null class, −1, is the mean over the table."""
        table = torch.cat([self.class_embed, self.class_embed.mean(0, keepdim=True)])
        return table[labels]  # NULL_CLASS = −1 indexes the last row

    def _affine(self, output: Tensor) -> Affine:
        """What `proj_out` returns, (…, 2C) or in volume-preserving mode (…, C), as shift and log-scale."""
        if self.volume_preserving:
            return Affine(output, torch.zeros_like(output))
        log_scale, shift = output.chunk(2, dim=-1)
        return Affine(shift, log_scale)


class Tarflow(AutoregressivePrior):
    """Blocks from data to noise; those of odd index run backwards along the raster."""

    def __init__(self, spec: TarflowSpec, latent: LatentShape, num_classes: int):
        super().__init__()
        if spec.class_conditional and num_classes < 1:
            raise SpecError("prior.class_conditional: the data has no classes (set it to false)")
        self.latent = latent
        self.blocks = nn.ModuleList(
            TarflowBlock(spec, layers, latent, num_classes, reverse=index % 2 == 1)
            for index, layers in enumerate(spec.blocks)
        )
        self.variance: Tensor | None
        variance = torch.ones(latent.tokens, latent.channels) if spec.volume_preserving else None
        self.register_buffer("variance", variance)

    def forward(self, latents: Tensor, labels: Tensor) -> FlowOutput:
        """Latents (B, T, C), labels (B,) → z and summed log-determinant (TARFlow Eq. 4–6).

        In training, volume-preserving mode takes the batch's second moments into its running variance.
        """
        z, logdet = latents, latents.new_zeros(len(latents))
        for block in self.blocks:
            z, stretched = block(z, labels)
            logdet = logdet + stretched
        if self.variance is not None and self.training:
            with torch.no_grad():
                self.variance.lerp_(z.square().mean(0).to(self.variance.dtype), VARIANCE_RATE)
        return FlowOutput(z, logdet)

    def inverse(self, z: Tensor, labels: Tensor, guidance: Guidance | None = None) -> Tensor:
        """Noise (B, T, C), labels (B,) → latents (B, T, C); an ordinary tensor without a graph."""
        with torch.inference_mode():
            for index in reversed(range(len(self.blocks))):
                guided = guidance is not None and guidance.guides(index, len(self.blocks))
                z = self.blocks[index].inverse(z, labels, guidance if guided else None)
        return z.clone()  # outside inference mode, so that a denoiser may differentiate at it

    def log_prob(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(B,) log-density in nats; the volume-preserving mode's base is N(0, diag(variance))."""
        if self.variance is None:
            return super().log_prob(latents, labels)
        z, logdet = self(latents, labels)
        base = -0.5 * (z.square() / self.variance + self.variance.log() + math.log(2 * math.pi))
        return logdet + base.flatten(1).sum(1)

    @torch.no_grad()
    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, T, C) of the base distribution, on the CPU."""
        noise = torch.randn(count, self.latent.tokens, self.latent.channels, generator=generator)
        return noise if self.variance is None else noise * self.variance.cpu().sqrt()
