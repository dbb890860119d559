"""Sampling from a prior: what its samplers share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.samples import SamplesFacts
from mimflow.errors import NotFiniteError
from mimflow.nn.draws import Draws
from mimflow.nn.modes import evaluating
from mimflow.outputs.base import Drawn, ImageOutput, Setting
from mimflow.outputs.labels import draw_labels
from mimflow.outputs.spec import SamplerSpec
from mimflow.priors.base import Prior
from mimflow.tokenizers.base import Tokenizer

MOST_REDRAWS = 10
"""How often a sample is drawn anew before the job gives up: a system that needs more is broken."""


class PriorSampler(ImageOutput):
    """A prior's latents → decoder → clamp."""

    spec: SamplerSpec
    remedy: ClassVar[str]
    """What makes samples that are not finite less likely."""

    @abstractmethod
    def latents(self, prior: Any, labels: Tensor, draws: Draws) -> Tensor:
        """Latents (B, tokens, channels) of classes (B,), on the labels' device; `NULL_CLASS` for no class."""

    def write(self, setting: Setting) -> SamplesFacts:
        """As every sampler of images; also records the guidance in words."""
        return replace(super().write(setting), guidance=_describe(self.spec.identity().get("guidance")))

    def labels(self, setting: Setting) -> np.ndarray:
        return draw_labels(setting)

    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        """A batch; images that are not finite are drawn anew, each for itself, if the spec says so."""
        tokenizer, prior = setting.modules.module("tokenizer"), setting.modules.module("prior")
        images = self.sample(tokenizer, prior, labels, setting.draws(rows))
        redrawn = 0
        for attempt in range(1, self._redraws + 1):
            broken = (~_finite(images)).nonzero().flatten()
            if not len(broken):
                break
            redrawn += len(broken)
            draws = setting.draws([rows[place] for place in broken.tolist()], attempt)
            images[broken] = self.sample(tokenizer, prior, labels[broken], draws)
        if not (finite := _finite(images)).all():
            after = f" after {self._redraws} more draws" if self._redraws else ""
            raise NotFiniteError(
                f"{int((~finite).sum())} of {len(images)} samples are not finite{after} ({self._remedy})"
            )
        return Drawn(images, {"redrawn": redrawn} if redrawn else {})

    def sample(self, tokenizer: Tokenizer, prior: Prior, labels: Tensor, draws: Draws) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] for labels (B,), on the labels' device; `NULL_CLASS` for no class.

        NaN and infinities stay: the caller looks for them. Raises what `latents` raises.
        """
        with evaluating(tokenizer, prior), torch.no_grad():
            images = tokenizer.decode(self.latents(prior, labels, draws))
        return torch.where(images.isfinite(), images.clamp(-1, 1), images)

    @property
    def _redraws(self) -> int:
        return MOST_REDRAWS if self.spec.on_nonfinite == "redraw" else 0

    @property
    def _remedy(self) -> str:
        return self.remedy if self._redraws else f"{self.remedy}; on_nonfinite: redraw draws such samples anew"


def _finite(images: Tensor) -> Tensor:
    """(B,) which of the images are finite throughout."""
    return images.isfinite().flatten(1).all(1)


def _describe(part: dict[str, Any] | None) -> str:
    if part is None:
        return "none"
    return ", ".join([part["kind"], *(f"{name} {value}" for name, value in part.items() if name != "kind")])
