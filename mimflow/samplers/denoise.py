"""Removing the noise that a prior was trained with, by the prior's own score."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.priors.base import FlowPrior
from mimflow.samplers.spec import AnyDenoising, LevelDenoising

SUB_BATCHES = 4
"""Parts that a batch is denoised in, since a backward pass needs more memory than sampling does."""


def denoise(
    spec: AnyDenoising, prior: FlowPrior, latents: Tensor, labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Latents (B, T, C) without the noise that the prior was trained with; what is drawn comes from `generator`."""
    if isinstance(spec, LevelDenoising):
        return level_denoise(spec, prior, latents, labels, generator)
    return score_denoise(prior, latents, labels, spec.std)


def level_denoise(
    spec: LevelDenoising, prior: FlowPrior, latents: Tensor, labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Latents (B, T, C) with noise of t1 in them → clean ones, for a prior of noise levels (iTARFlow's second stage).

    The ODE is dx/dt = (x − x̂) / t in Euler's steps. The SDE's noise is drawn on the CPU, for the whole batch at once.
    """
    for level, following in pairwise(spec.grid):
        clean = score_denoise(prior.at(level), latents, labels, level)
        if spec.clip:
            clean = clean.clamp(-1, 1)
        unit = (latents - clean) / level
        if spec.method == "sde":
            kept = (following / level) ** 2
            fresh = torch.randn(latents.shape, generator=generator).to(latents)
            unit = kept**0.5 * unit + (1 - kept) ** 0.5 * fresh
        latents = clean + following * unit
    return latents


def score_denoise(prior: FlowPrior, latents: Tensor, labels: Tensor, std: float) -> Tensor:
    """x + σ² ∇ₓ log p(x | y), the mean of the clean latents given noisy ones (Tweedie; TARFlow, section 2.4).

    Latents (B, T, C), labels (B,), σ = `std` on the scale of the latents. Through a tokenizer that only moves
    pixels about, such as `pixel`, it is the same as on images. The prior is left as it was: mode,
    `requires_grad` and gradients.
    """
    with evaluating(prior):
        parts = zip(latents.chunk(SUB_BATCHES), labels.chunk(SUB_BATCHES), strict=True)
        return torch.cat([x + std**2 * _score(prior, x, y) for x, y in parts])


def _score(prior: FlowPrior, latents: Tensor, labels: Tensor) -> Tensor:
    """∇ₓ log p(x | y), (B, T, C)."""
    with torch.enable_grad():
        latents = latents.detach().requires_grad_()
        log_prob = prior.log_prob(latents, labels).sum()
        return torch.autograd.grad(log_prob, latents)[0]
