"""Sampling by running a flow backwards."""

from __future__ import annotations

from torch import Tensor

from mimflow.compute.devices import autocast
from mimflow.nn.draws import Draws
from mimflow.outputs.base import Drawn, Setting
from mimflow.outputs.inverse.denoise import denoise
from mimflow.outputs.inverse.spec import InverseSpec, LevelDenoising
from mimflow.outputs.prior import PriorSampler
from mimflow.priors.base import FlowPrior, GuidablePrior
from mimflow.priors.guidance.rules import guidance_rule


class InverseSampler(PriorSampler):
    """Noise → inverse flow, guided if asked → steps along the score if asked → decoder → clamp.

    A prior of noise levels is inverted at the level where its denoising begins.
    """

    remedy = "a smaller guidance weight or noise_temperature is less likely to overflow"

    def __init__(self, spec: InverseSpec):
        self.spec: InverseSpec = spec
        self.guidance = guidance_rule(spec.guidance) if spec.guidance is not None else None

    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        """As of every sampler from a prior; also counts how many of the scales guidance took below their floor."""
        drawn = super().batch(setting, rows, labels)
        return drawn if self.guidance is None else drawn._replace(counts=drawn.counts | self.guidance.take_counts())

    def latents(self, prior: FlowPrior, labels: Tensor, draws: Draws) -> Tensor:
        """Latents (B, tokens, channels)."""
        noise = self.spec.noise_temperature * prior.noise(draws)
        with autocast(labels.device, self.spec.precision):
            latents = self._inverse(prior, noise.to(labels.device), labels)
        if self.spec.denoise is None:
            return latents
        levels = isinstance(self.spec.denoise, LevelDenoising)
        with autocast(labels.device, "fp32" if levels else self.spec.precision):
            return denoise(self.spec.denoise, prior, latents, labels, draws)

    def _inverse(self, prior: FlowPrior, noise: Tensor, labels: Tensor) -> Tensor:
        flow = prior.at(self.spec.denoise.t1) if isinstance(self.spec.denoise, LevelDenoising) else prior
        if self.guidance is None and self.spec.decoding is None:
            return flow.inverse(noise, labels)
        assert isinstance(flow, GuidablePrior), "refused by InverseSpec.system_problems"
        return flow.inverse(noise, labels, self.guidance, self.spec.decoding)
