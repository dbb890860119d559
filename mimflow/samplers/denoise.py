"""Removing the noise that a prior was trained with, by the prior's own score."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.nn.modes import evaluating
from mimflow.priors.base import FlowPrior

SUB_BATCHES = 4
"""Parts that a batch is denoised in, since a backward pass needs more memory than sampling does."""


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
