"""Sampling by running a flow backwards."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.errors import NotFiniteError, SpecError
from mimflow.nn.modes import evaluating
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import FlowPrior
from mimflow.samplers.denoise import score_denoise
from mimflow.samplers.guidance import LinearRule
from mimflow.samplers.spec import InverseSpec
from mimflow.tokenizers.base import Tokenizer


class InverseSampler:
    """Noise → inverse flow, guided if asked → one denoising step if asked → decoder → clamp."""

    def __init__(self, spec: InverseSpec):
        self.spec = spec
        self.guidance = LinearRule(spec.guidance) if spec.guidance is not None else None

    def sample(self, tokenizer: Tokenizer, prior: FlowPrior, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] for labels (B,), on the labels' device; `NULL_CLASS` for no class.

        The noise comes from `generator` on the CPU, so that a seed means the same on every device. Raises
        SpecError for guidance of a prior that has no blocks to guide, and NotFiniteError.
        """
        with evaluating(tokenizer, prior), torch.no_grad():
            noise = self.spec.noise_temperature * prior.noise(len(labels), generator)
            latents = self._inverse(prior, noise.to(labels.device), labels)
            if self.spec.denoise is not None:
                latents = score_denoise(prior, latents, labels, self.spec.denoise.std)
            images = tokenizer.decode(latents)
        finite = images.isfinite().flatten(1).all(1)
        if not finite.all():
            raise NotFiniteError(
                f"{int((~finite).sum())} of {len(images)} samples are not finite "
                "(a smaller guidance weight or noise_temperature is less likely to overflow)"
            )
        return images.clamp(-1, 1)

    def _inverse(self, prior: FlowPrior, noise: Tensor, labels: Tensor) -> Tensor:
        if self.guidance is None:
            return prior.inverse(noise, labels)
        if not isinstance(prior, AutoregressivePrior):
            raise SpecError(
                f"sampler.guidance: {type(prior).__name__} is not autoregressive and can't be guided "
                "(leave guidance out)"
            )
        return prior.inverse(noise, labels, self.guidance)
