"""Noise on latents."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.nn.draws import Draws, normal_like, uniform_like
from mimflow.spec.noise import AdditiveNoise, LatentNoise, LawOfT, LinearNoise, NoNoise, UniformLaw


def add_noise(latents: Tensor, spec: LatentNoise, draws: Draws | None = None) -> Tensor:
    """Latents (B, …) → the same shape with noise as `spec` says: from `draws`, or from torch's default generator.

    Additive noise has a given standard deviation; the other kinds mix each sample with unit noise by a t of its own.
    """
    if isinstance(spec, NoNoise):
        return latents
    noise = normal_like(latents, draws)
    if isinstance(spec, AdditiveNoise):
        return latents + spec.std * noise
    t = draw_time(spec.t, latents, draws)
    amount = 1 - t if isinstance(spec, LinearNoise) else torch.sqrt(1 - t.square())
    return t * latents + amount * noise


def draw_time(law: LawOfT, latents: Tensor, draws: Draws | None = None) -> Tensor:
    """One t a sample, (B, 1, …), in the latents' precision and on their device."""
    each = latents.new_empty((len(latents),) + (1,) * (latents.dim() - 1))
    if isinstance(law, UniformLaw):
        return law.low + (law.high - law.low) * uniform_like(each, draws)
    return torch.sigmoid(law.mean + law.std * normal_like(each, draws))
