"""Sampling from a prior: what its samplers share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.rows import Rows
from mimflow.artifacts.samples import GRID, SamplesFacts
from mimflow.errors import NotFiniteError
from mimflow.nn.modes import evaluating
from mimflow.outputs.base import ImageOutput, Setting
from mimflow.outputs.drawing import Samples
from mimflow.outputs.grid import cells, choose, write_grid
from mimflow.outputs.spec import OutputSpec
from mimflow.priors.base import NULL_CLASS, Prior
from mimflow.seeds import derive
from mimflow.tokenizers.base import Tokenizer


class PriorSampler(ImageOutput):
    """A prior's latents → decoder → clamp."""

    spec: OutputSpec
    remedy: ClassVar[str]
    """What makes samples that are not finite less likely."""

    @abstractmethod
    def latents(self, prior: Any, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Latents (B, tokens, channels) of classes (B,), on the labels' device; `NULL_CLASS` for no class.

        All noise comes from `generator` on the CPU, so that a seed means the same on every device.
        """

    def write(self, setting: Setting) -> SamplesFacts:
        """As every sampler of images; also records the guidance in words."""
        return replace(super().write(setting), guidance=_describe(self.spec.identity().get("guidance")))

    def labels(self, setting: Setting) -> np.ndarray:
        """The classes to draw, in random order: consecutive samples are a mix of classes."""
        samples, prior = setting.drawing, setting.modules.spec.prior
        assert isinstance(samples, Samples)
        count, classes = samples.count, setting.shapes.num_classes
        if prior is not None and not prior.takes_classes:
            return np.full(count, NULL_CLASS, np.int64)
        random = np.random.default_rng(derive(setting.seed, samples.seed, "labels"))
        if samples.labels == "uniform":
            return random.integers(classes, size=count)
        each = np.repeat(np.arange(classes), count // classes)
        rest = random.permutation(classes)[: count % classes]
        return random.permutation(np.concatenate([each, rest]))

    def batch(self, setting: Setting, rows: range, labels: Tensor, seed: int) -> Tensor:
        tokenizer, prior = setting.modules.module("tokenizer"), setting.modules.module("prior")
        return self.sample(tokenizer, prior, labels, torch.Generator().manual_seed(seed))

    def pictures(self, setting: Setting, images: Rows, labels: np.ndarray) -> None:
        write_grid(setting.work / "out" / GRID, cells(images, choose(labels)))

    def sample(self, tokenizer: Tokenizer, prior: Prior, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] for labels (B,), on the labels' device; `NULL_CLASS` for no class.

        Raises NotFiniteError, and what `latents` raises.
        """
        with evaluating(tokenizer, prior), torch.no_grad():
            images = tokenizer.decode(self.latents(prior, labels, generator))
        finite = images.isfinite().flatten(1).all(1)
        if not finite.all():
            raise NotFiniteError(f"{int((~finite).sum())} of {len(images)} samples are not finite ({self.remedy})")
        return images.clamp(-1, 1)


def _describe(part: dict[str, Any] | None) -> str:
    if part is None:
        return "none"
    return ", ".join([part["kind"], *(f"{name} {value}" for name, value in part.items() if name != "kind")])
