"""Whether latents live: their spread over the data against the noise that is added to them.

A latent that varies less than the noise tells the decoder little; where all of them shrink, the prior's likelihood
grows without bound and the system has collapsed (SimFlow, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimflow.nn.noise import add_noise
from mimflow.spec.noise import AdditiveNoise, LatentNoise

DEAD_TOKEN_RATIO = 0.1
"""A latent token is dead if its spread over the data is less than so much of the noise's."""


def noise_std(spec: LatentNoise) -> float:
    """The standard deviation of what is added to latents; of kinds that draw its share anew, over many draws."""
    if isinstance(spec, AdditiveNoise):
        return spec.std
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(add_noise(torch.zeros(20_000, 16), spec).std())


@dataclass(frozen=True)
class Spread:
    """How much latents vary from image to image: the mean over images is taken off each dimension of each token."""

    variance: Tensor
    """(tokens, channels), over images."""

    @classmethod
    def of(cls, batches: Iterable[Tensor]) -> Spread:
        """The spread of latents (B, tokens, channels) that come in batches; at least two in all."""
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for latents in batches:
            # Chan et al. 1983: batches are joined without the cancellation of sums of squares.
            latents = latents.double()
            size, own = len(latents), latents.mean(0)
            shift, total = own - mean.to(own), count + size
            squares = squares.to(own) + (latents - own).square().sum(0) + shift.square() * (count * size / total)
            mean, count = mean.to(own) + shift * (size / total), total
        return cls(squares / max(1, count - 1))

    @property
    def channels(self) -> Tensor:
        """(channels,) standard deviations, of the mean variance over tokens."""
        return self.variance.mean(0).sqrt()

    @property
    def tokens(self) -> Tensor:
        """(tokens,) standard deviations, of the mean variance over channels."""
        return self.variance.mean(1).sqrt()

    def dead_tokens(self, noise: float) -> Tensor:
        """The share of tokens whose spread is below a tenth of the noise's; without noise, of those that never vary."""
        threshold = DEAD_TOKEN_RATIO * noise if noise > 0 else torch.finfo(torch.float32).eps
        return (self.tokens < threshold).double().mean()


def spread_figures(latents: Tensor, noise: float) -> dict[str, Tensor]:
    """The log's figures of one batch's latents (B, tokens, channels)."""
    spread = Spread.of([latents.detach()])
    channels = spread.channels
    figures = {
        "latent_std": channels.mean(),
        "latent_std_min": channels.min(),
        "latent_std_max": channels.max(),
        "dead_tokens": spread.dead_tokens(noise),
    }
    return figures | ({"spread_over_noise": channels.mean() / noise} if noise > 0 else {})


def spread_facts(spread: Spread, noise: float) -> dict[str, Any]:
    """The manifest's figures: as plain data, every channel's for itself."""
    channels = spread.channels
    return {
        "latent_std": {
            "mean": channels.mean().item(),
            "min": channels.min().item(),
            "max": channels.max().item(),
            "channels": channels.tolist(),
        },
        "noise_std": noise,
        "spread_over_noise": channels.mean().item() / noise if noise > 0 else None,
        "dead_tokens": spread.dead_tokens(noise).item(),
    }
