"""Sampling by running a flow backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.samples import Shards
from mimflow.errors import NotFiniteError, SpecError
from mimflow.nn.modes import evaluating
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import NULL_CLASS, FlowPrior
from mimflow.samplers.base import ImageSampler, Setting
from mimflow.samplers.denoise import denoise
from mimflow.samplers.grid import cells, choose, write_grid
from mimflow.samplers.guidance import guidance_rule
from mimflow.samplers.spec import InverseSpec, LevelDenoising
from mimflow.seeds import derive
from mimflow.spec.protocol import Samples
from mimflow.tokenizers.base import Tokenizer


class InverseSampler(ImageSampler):
    """Noise → inverse flow, guided if asked → denoising if asked → decoder → clamp.

    A prior of noise levels is inverted at the level where its denoising begins.
    """

    def __init__(self, spec: InverseSpec):
        self.spec = spec
        self.guidance = guidance_rule(spec.guidance) if spec.guidance is not None else None

    def write(self, setting: Setting) -> dict[str, Any]:
        """As every sampler of images; also records the guidance in words."""
        return {**super().write(setting), "guidance": _describe(self.spec.identity().get("guidance"))}

    def labels(self, setting: Setting) -> np.ndarray:
        """The classes to draw, in random order: consecutive samples are a mix of classes."""
        task, samples = setting.task, setting.task.samples
        assert isinstance(samples, Samples)
        count, classes = samples.count, task.shapes.num_classes
        if task.system.prior is not None and not task.system.prior.takes_classes:
            return np.full(count, NULL_CLASS, np.int64)
        random = np.random.default_rng(derive(task.seed, samples.seed, "labels"))
        if samples.labels == "uniform":
            return random.integers(classes, size=count)
        each = np.repeat(np.arange(classes), count // classes)
        rest = random.permutation(classes)[: count % classes]
        return random.permutation(np.concatenate([each, rest]))

    def batch(self, setting: Setting, rows: range, labels: Tensor, seed: int) -> Tensor:
        tokenizer, prior = setting.modules.module("tokenizer"), setting.modules.module("prior")
        return self.sample(tokenizer, prior, labels, torch.Generator().manual_seed(seed))

    def pictures(self, setting: Setting, shards: Shards, labels: np.ndarray) -> None:
        write_grid(setting.work / "out" / "grid.png", cells(shards, choose(labels)))

    def sample(self, tokenizer: Tokenizer, prior: FlowPrior, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] for labels (B,), on the labels' device; `NULL_CLASS` for no class.

        The noise comes from `generator` on the CPU, so that a seed means the same on every device. Raises
        SpecError for guidance of a prior that has no blocks to guide, and NotFiniteError.
        """
        with evaluating(tokenizer, prior), torch.no_grad():
            noise = self.spec.noise_temperature * prior.noise(len(labels), generator)
            latents = self._inverse(prior, noise.to(labels.device), labels)
            if self.spec.denoise is not None:
                latents = denoise(self.spec.denoise, prior, latents, labels, generator)
            images = tokenizer.decode(latents)
        finite = images.isfinite().flatten(1).all(1)
        if not finite.all():
            raise NotFiniteError(
                f"{int((~finite).sum())} of {len(images)} samples are not finite "
                "(a smaller guidance weight or noise_temperature is less likely to overflow)"
            )
        return images.clamp(-1, 1)

    def _inverse(self, prior: FlowPrior, noise: Tensor, labels: Tensor) -> Tensor:
        flow = prior.at(self.spec.denoise.t1) if isinstance(self.spec.denoise, LevelDenoising) else prior
        if self.guidance is None:
            return flow.inverse(noise, labels)
        if not isinstance(prior, AutoregressivePrior):
            raise SpecError(
                f"sampler.guidance: {type(prior).__name__} is not autoregressive and can't be guided "
                "(leave guidance out)"
            )
        return flow.inverse(noise, labels, self.guidance)


def _describe(part: dict[str, Any] | None) -> str:
    if part is None:
        return "none"
    return ", ".join([part["kind"], *(f"{name} {value}" for name, value in part.items() if name != "kind")])
