"""Negative log-likelihood under a flow prior (TARFlow, sections 2.2 and 2.3), and over noise levels (iTARFlow)."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from mimflow.nn.draws import Draws, uniform_like
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.levels import draw_levels, level_weight, reported_levels
from mimflow.objectives.spec import GaussianNoise, NllSpec
from mimflow.priors.base import NULL_CLASS, FlowOutput, FlowPrior, nll_per_dimension
from mimflow.spec.noise import NoiseLevels
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes
from mimflow.tokenizers.pixel.model import PixelTokenizer


def nll_of_samples(output: FlowOutput) -> Tensor:
    """(B,) each sample's negative log-likelihood in nats per dimension, without the constant ½ log 2π."""
    z, logdet, _ = output
    return 0.5 * z.float().square().flatten(1).mean(1) - logdet.float() / z[0].numel()


GREY_LEVELS_PER_UNIT = 128
"""Of dequantised images: x = u/128 − 1 with u in [0, 256), so dx/du = 1/128."""


def dequantise(images: Tensor, draws: Draws | None = None) -> Tensor:
    """Images of 256 levels in [−1, 1] → the same with uniform noise of one level's width, still in [−1, 1].

    The noise is from `draws`, or from torch's default generator.
    """
    levels = (images + 1) * 127.5
    return (levels + uniform_like(levels, draws)) / 256 * 2 - 1


def bits_per_dimension(nll: Tensor) -> Tensor:
    """Upper bound on the bits per dimension of 256-level images, from the nll of dequantised ones."""
    return (nll + 0.5 * math.log(2 * math.pi) + math.log(GREY_LEVELS_PER_UNIT)) / math.log(2)


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

    Over noise levels the loss is weighted and all that is logged is not. In evaluation mode every sample is seen, under
    the same noise, at each of a few fixed levels in place of a drawn one; `nll_at_T` is the whole negative
    log-likelihood at T then, with the constant.
    """

    def __init__(self, spec: NllSpec, modules: SystemModules, shapes: Shapes):
        super().__init__(spec, modules, shapes)
        of_pixels = isinstance(modules.tokenizer, PixelTokenizer)
        assert of_pixels or spec.noise.kind != "uniform", "refused by NllSpec.system_problems"
        self.noise = spec.noise
        self.label_drop = spec.label_drop
        self.latent_norm_weight = spec.latent_norm_weight

    @property
    def flow(self) -> FlowPrior:
        """The system's prior."""
        return cast(FlowPrior, self.prior)

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per dimension, ½ log 2π dropped; with the regulariser before its weight if there is one."""
        labels = drop_labels(batch.labels, self.label_drop) if self.training and self.label_drop else batch.labels
        if isinstance(self.noise, NoiseLevels):
            return self._loss_over_levels(self.noise, self.latents(batch), labels)
        noisy = self._noisy_latents(batch)
        outputs = list(self.flow.by_block(noisy, labels))
        loss, figures = self.flow.nll(outputs[-1])
        if self.noise.kind == "uniform":
            figures["bpd"] = bits_per_dimension(figures["nll"])
        if self.latent_norm_weight:
            figures["latent_norm"] = latent_norm(noisy, outputs)
            loss = loss + self.latent_norm_weight * figures["latent_norm"]
        return loss, figures

    def _loss_over_levels(
        self, noise: NoiseLevels, latents: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean of w(t) l(x + t ε, t), l in nats per dimension with ½ log 2π dropped."""
        unit = torch.randn_like(latents)
        if self.training:
            drawn = draw_levels(noise, len(latents), latents.device)
            return self._loss_at(noise, latents, unit, labels, drawn)
        every, reports = [], {}
        for level in reported_levels(noise):
            levels = latents.new_full((len(latents),), level)
            loss, figures = self._loss_at(noise, latents, unit, labels, levels)
            every.append({"loss": loss, **figures})
            reports[f"nll_at_{level:.4g}"] = figures["nll"] + 0.5 * math.log(2 * math.pi)
        means = {name: torch.stack([figures[name] for figures in every]).mean() for name in every[0]}
        return means.pop("loss"), means | reports

    def _loss_at(
        self, noise: NoiseLevels, latents: Tensor, unit: Tensor, labels: Tensor, levels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss at levels (B,), and figures that are not weighted."""
        output = self.flow.at(levels)(latents + levels[:, None, None] * unit, labels)
        weighted = (level_weight(noise, levels) * nll_of_samples(output)).mean()
        return weighted, nll_per_dimension(output)[1]

    def _noisy_latents(self, batch: Batch) -> Tensor:
        if self.noise.kind == "uniform":
            return self.tokenizer.encode(dequantise(batch.images))
        latents = self.latents(batch)
        if isinstance(self.noise, GaussianNoise):
            latents = latents + self.noise.std * torch.randn_like(latents)
        return latents
