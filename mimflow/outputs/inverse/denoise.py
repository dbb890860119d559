"""Steps along a prior's own score after sampling: away from the noise that it was trained with, or to the class."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from mimflow.nn.draws import Draws, normal_like
from mimflow.nn.modes import evaluating
from mimflow.outputs.inverse.spec import Denoising, LevelDenoising, ScoreDenoising
from mimflow.priors.base import NULL_CLASS, FlowPrior

PARTS = 4
"""Parts that a batch is cut into, since a backward pass needs more memory than sampling does, where no spec says."""


def denoise(spec: Denoising, prior: FlowPrior, latents: Tensor, labels: Tensor, draws: Draws) -> Tensor:
    """What a spec describes, of latents (B, T, C) with labels (B,); what is random comes from `draws`."""
    if isinstance(spec, LevelDenoising):
        return level_denoise(spec, prior, latents, labels, draws)
    if isinstance(spec, ScoreDenoising):
        return score_denoise(prior, latents, labels, spec.std, spec.at_once)
    return score_guide(prior, latents, labels, spec.step, spec.at_once)


def level_denoise(spec: LevelDenoising, prior: FlowPrior, latents: Tensor, labels: Tensor, draws: Draws) -> Tensor:
    """Latents (B, T, C) with noise of t1 in them → clean ones, for a prior of noise levels (iTARFlow's second stage).

    The ODE is dx/dt = (x − x̂) / t in Euler's steps. The SDE draws noise once a step.
    """
    for level, following in pairwise(spec.grid):
        clean = score_denoise(prior.at(level), latents, labels, level, spec.at_once)
        if spec.clip:
            clean = clean.clamp(-1, 1)
        unit = (latents - clean) / level
        if spec.method == "sde":
            kept = (following / level) ** 2
            fresh = normal_like(latents, draws)
            unit = kept**0.5 * unit + (1 - kept) ** 0.5 * fresh
        latents = clean + following * unit
    return latents


def score_denoise(prior: FlowPrior, latents: Tensor, labels: Tensor, std: float, at_once: int | None = None) -> Tensor:
    """x + σ² ∇ₓ log p(x | y), the mean of the clean latents given noisy ones (Tweedie; TARFlow, section 2.4).

    Latents (B, T, C), labels (B,), σ = `std` on the scale of the latents. Through a tokenizer that only moves
    pixels about, such as `pixel`, it is the same as on images. `at_once`: samples of one gradient. The prior is left as
    it was: mode, `requires_grad` and gradients.
    """
    return _in_parts(prior, latents, labels, lambda x, y: x + std**2 * _score(prior, x, y), at_once)


def score_guide(prior: FlowPrior, latents: Tensor, labels: Tensor, step: float, at_once: int | None = None) -> Tensor:
    """x + γ (∇ₓ log p(x | y) − ∇ₓ log p(x)) of latents (B, T, C), labels (B,) and γ = `step` (SimFlow Eq. 6).

    `at_once`: samples of one gradient. The prior is left as it was.
    """

    def towards_class(x: Tensor, y: Tensor) -> Tensor:
        return x + step * (_score(prior, x, y) - _score(prior, x, torch.full_like(y, NULL_CLASS)))

    return _in_parts(prior, latents, labels, towards_class, at_once)


def _in_parts(
    prior: FlowPrior, latents: Tensor, labels: Tensor, move: Callable[[Tensor, Tensor], Tensor], at_once: int | None
) -> Tensor:
    size = at_once or -(-len(latents) // PARTS)
    with evaluating(prior):
        parts = zip(latents.split(size), labels.split(size), strict=True)
        return torch.cat([move(x, y) for x, y in parts])


def _score(prior: FlowPrior, latents: Tensor, labels: Tensor) -> Tensor:
    """∇ₓ log p(x | y), (B, T, C)."""
    with torch.enable_grad():
        latents = latents.detach().requires_grad_()
        log_prob = prior.log_prob(latents, labels).sum()
        return torch.autograd.grad(log_prob, latents)[0]
