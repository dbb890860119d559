"""Negative log-likelihood under a flow prior (TARFlow, sections 2.2 and 2.3)."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from mimflow.errors import SpecError
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.spec import GaussianNoise, NllSpec
from mimflow.plan.tasks import Shapes
from mimflow.priors.base import NULL_CLASS, FlowOutput, FlowPrior, nll_per_dimension
from mimflow.system import SystemModules
from mimflow.tokenizers.pixel.model import PixelTokenizer


def dequantise(images: Tensor) -> Tensor:
    """Images of 256 levels in [−1, 1] → the same with uniform noise of one level's width, still in [−1, 1]."""
    levels = (images + 1) * 127.5
    return (levels + torch.rand_like(levels)) / 256 * 2 - 1


def bits_per_dimension(nll: Tensor) -> Tensor:
    """Upper bound on the bits per dimension of 256-level images, from the nll of dequantised ones."""
    # x = u/128 − 1 with u in [0, 256): dx/du = 1/128.
    return (nll + 0.5 * math.log(2 * math.pi) + math.log(128)) / math.log(2)


def drop_labels(labels: Tensor, probability: float) -> Tensor:
    """Labels (B,), each replaced by the null class with this probability."""
    dropped = torch.rand(labels.shape, device=labels.device) < probability
    return labels.masked_fill(dropped, NULL_CLASS)


def latent_norm(latents: Tensor, outputs: list[FlowOutput]) -> Tensor:
    """Mean squares of latents (B, T, C) and of what each block but the last makes of them, summed (STARFlow's code)."""
    read = [latents, *(output.z for output in outputs[:-1])]
    return torch.stack([tokens.float().square().mean() for tokens in read]).sum()


class NegativeLogLikelihood(Objective):
    """−log p of noisy latents, a mean over dimensions; logs `nll`, `logdet`, `z2`, and `bpd` where it means something.

    Gaussian noise is added to the latents, which are drawn from the posterior where the tokenizer learns one; uniform
    noise is added to the images. Labels are dropped in training mode only.
    """

    def __init__(self, spec: NllSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        if spec.noise.kind == "uniform" and not isinstance(modules.tokenizer, PixelTokenizer):
            raise SpecError(
                "objective.noise: uniform dequantisation is of grey levels, and this tokenizer's latents have none "
                "(use the pixel tokenizer, or gaussian noise)"
            )
        self.noise = spec.noise
        self.label_drop = spec.label_drop
        self.latent_norm_weight = spec.latent_norm_weight

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per dimension, ½ log 2π dropped; with the regulariser before its weight if there is one."""
        labels = drop_labels(batch.labels, self.label_drop) if self.training and self.label_drop else batch.labels
        noisy = self._noisy_latents(batch.images)
        outputs = list(cast(FlowPrior, self.prior).by_block(noisy, labels))
        loss, figures = nll_per_dimension(outputs[-1])
        if self.noise.kind == "uniform":
            figures["bpd"] = bits_per_dimension(loss)
        if self.latent_norm_weight:
            figures["latent_norm"] = latent_norm(noisy, outputs)
            loss = loss + self.latent_norm_weight * figures["latent_norm"]
        return loss, figures

    def _noisy_latents(self, images: Tensor) -> Tensor:
        if self.noise.kind == "uniform":
            return self.tokenizer.encode(dequantise(images))
        latents, _ = self.tokenizer.encode_for_training(images, masked=False)
        if isinstance(self.noise, GaussianNoise):
            latents = latents + self.noise.std * torch.randn_like(latents)
        return latents
