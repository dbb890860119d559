"""iTARFlow (Chen et al., arXiv 2604.20041)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mimflow.nn.draws import Draws
from mimflow.nn.transformer import TransformerLayer, TransformerOptions
from mimflow.priors.autoregressive import AutoregressivePrior, alternating
from mimflow.priors.base import FlowOutput, GuidablePrior
from mimflow.priors.block import BlockOptions
from mimflow.priors.decoding.spec import JacobiDecoding
from mimflow.priors.guidance.rules import Guidance
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.priors.spec import Tap
from mimflow.spec.shapes import LatentShape


class Itarflow(AutoregressivePrior):
    """TARFlow's blocks with an embedding of the noise level in each; a density at every level, `at(level)`."""

    def __init__(self, spec: ItarflowSpec, latent: LatentShape, num_classes: int):
        options = [
            BlockOptions(
                TransformerOptions(width, spec.head_width, spec.expansion),
                conditioning="embedding" if spec.class_conditional else "none",
                noise_levels=True,
                patch=patch,
            )
            for width, patch in zip(spec.widths, spec.patches, strict=True)
        ]
        shared = [TransformerLayer(options[0].transformer) for _ in range(spec.shared_layers)]
        super().__init__(alternating(options, spec.blocks, latent, num_classes, shared=shared), latent)
        self.shared = nn.ModuleList(shared)
        self.input_scale = spec.input_scale

    def forward(
        self, latents: Tensor, labels: Tensor, tap: Tap | None = None, level: Tensor | None = None
    ) -> FlowOutput:
        """Latents (B, T, C), labels (B,), noise levels (B,) → z and summed log-determinant, that of the scale too."""
        output = super().forward(latents * self.input_scale, labels, tap, level)
        return output._replace(logdet=output.logdet + self.latent.dimensions * math.log(self.input_scale))

    def inverse(
        self,
        z: Tensor,
        labels: Tensor,
        guidance: Guidance | None = None,
        decoding: JacobiDecoding | None = None,
        level: Tensor | None = None,
    ) -> Tensor:
        """Noise (B, T, C), labels (B,), noise levels (B,) → latents (B, T, C) with noise of that level in them."""
        return super().inverse(z, labels, guidance, decoding, level) / self.input_scale

    def at(self, level: Tensor | float) -> AtLevel:
        """The density at a noise level, a standard deviation above 0: one for all samples, or one for each, (B,)."""
        return AtLevel(self, level)


class AtLevel(GuidablePrior):
    """A prior of noise levels at one of them, or at one for each sample. It shares the prior's parameters."""

    def __init__(self, prior: Itarflow, level: Tensor | float):
        super().__init__()
        self.prior = prior
        self.level = level

    def _levels(self, latents: Tensor) -> Tensor:
        """(B,), in at least fp32."""
        dtype = torch.promote_types(latents.dtype, torch.float32)
        return torch.as_tensor(self.level, dtype=dtype, device=latents.device).expand(len(latents))

    def forward(self, latents: Tensor, labels: Tensor, tap: Tap | None = None) -> FlowOutput:
        """Latents (B, T, C) with noise of the level in them, labels (B,) → z and summed log-determinant."""
        return self.prior(latents, labels, tap, self._levels(latents))

    def inverse(
        self, z: Tensor, labels: Tensor, guidance: Guidance | None = None, decoding: JacobiDecoding | None = None
    ) -> Tensor:
        """Noise (B, T, C), labels (B,) → latents (B, T, C) with noise of the level in them."""
        return self.prior.inverse(z, labels, guidance, decoding, self._levels(z))

    @torch.no_grad()
    def noise(self, draws: Draws) -> Tensor:
        """(B, T, C) standard normal, on the CPU."""
        return self.prior.noise(draws)
