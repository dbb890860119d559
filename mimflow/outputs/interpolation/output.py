"""Mixing the latents of two images and decoding them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.rows import Rows
from mimflow.artifacts.samples import GRID, STRIP, write_samples
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Split
from mimflow.errors import DataError
from mimflow.nn.modes import evaluating
from mimflow.outputs.base import Drawn, ImageOutput, Setting
from mimflow.outputs.grid import ROWS, cells, write_grid
from mimflow.outputs.interpolation.spec import InterpolationSpec
from mimflow.priors.base import NULL_CLASS, FlowPrior
from mimflow.seeds import derive

NEARLY_PARALLEL = 1e-4
"""Radians below which the great circle is a straight line, to float32's precision."""


class Interpolations(ImageOutput):
    """Pair by pair, from one end to the other; also `strip.npz`, some pairs with both originals, for pictures."""

    def __init__(self, spec: InterpolationSpec):
        self.spec = spec
        self._pairs = np.empty((0, 2), np.int64)

    def labels(self, setting: Setting) -> np.ndarray:
        """Of the nearer end's class; in the middle of the first's."""
        split = setting.split(self.spec.split)
        self._pairs = self._choose(setting, split)
        ends = split.labels[self._pairs]
        nearer = (np.arange(self.spec.steps) > (self.spec.steps - 1) / 2).astype(int)
        return ends[:, nearer].ravel()

    def _choose(self, setting: Setting, split: Split) -> np.ndarray:
        """The places (P, 2) in the split of each pair's images. DataError where there are no such pairs."""
        random = np.random.default_rng(derive(setting.seed, setting.drawing.seed, "interpolation"))
        labels = split.labels
        left = np.resize(random.permutation(len(labels)), self.spec.pairs)
        pairs = []
        for place in left:
            fitting = np.arange(len(labels)) != place
            if self.spec.classes != "any":
                fitting &= (labels == labels[place]) == (self.spec.classes == "same")
            others = np.flatnonzero(fitting)
            if not len(others):
                raise DataError(
                    f"the {self.spec.split} split has no second image of {self.spec.classes} class for class "
                    f"{labels[place]} (output.classes: any)"
                )
            pairs.append((place, random.choice(others)))
        return np.array(pairs)

    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        numbers = np.array(rows)
        pairs = self._pairs[numbers // self.spec.steps]
        images = setting.split(self.spec.split).images
        share = torch.from_numpy(numbers % self.spec.steps / (self.spec.steps - 1)).float().to(setting.device)
        tokenizer = setting.modules.module("tokenizer")
        with torch.no_grad():
            ends = [tokenizer.encode(to_unit(images[side]).to(setting.device)) for side in pairs.T]
            if self.spec.space == "noise":
                return Drawn(tokenizer.decode(self._through_noise(setting, ends, share, labels)))
            return Drawn(tokenizer.decode(self._mixed(ends[0], ends[1], share)))

    def _through_noise(self, setting: Setting, ends: list[Tensor], share: Tensor, labels: Tensor) -> Tensor:
        prior = setting.modules.module("prior")
        assert isinstance(prior, FlowPrior), "refused by InterpolationSpec.system_problems"
        takes = setting.modules.spec.prior is not None and setting.modules.spec.prior.takes_classes
        classes = labels if takes else torch.full_like(labels, NULL_CLASS)
        with evaluating(prior):
            first, second = (prior(latents, classes).z for latents in ends)
            return prior.inverse(self._mixed(first, second, share), classes)

    def _mixed(self, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Two (B, …) and the second's share (B,) → (B, …)."""
        mix = spherical if self.spec.method == "spherical" else linear
        return mix(first, second, share.view(-1, *[1] * (first.dim() - 1)))

    def pictures(self, setting: Setting, images: Rows, labels: np.ndarray) -> None:
        """A line a pair between its two originals as a picture, and the same of the decoded ones for tables."""
        steps = self.spec.steps
        shown = self._pairs[:ROWS]
        decoded = cells(images, np.arange(len(shown) * steps).reshape(len(shown), steps))
        originals = setting.split(self.spec.split).images[shown.ravel()].reshape(len(shown), 2, *images.shape[1:])
        write_grid(setting.work / "out" / GRID, np.concatenate([originals[:, :1], decoded, originals[:, 1:]], axis=1))
        # In the place of classes, so that pictures show the images of a pair side by side.
        order = np.tile(np.arange(steps), len(shown))
        write_samples(setting.work / "out" / STRIP, decoded, order, images.shape[1:])


def linear(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """(1 − a) x + a y for two (B, …) and shares a (B, 1, …)."""
    return (1 - share) * first + share * second


def spherical(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Along the great circle (Shoemake 1985), the vectors' lengths mixed with them; nearly parallel ones linearly."""
    one, other = first.flatten(1), second.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=1).clamp(-1, 1)
    angle = cosine.arccos().view_as(share)
    sine = angle.sin()
    curved = ((1 - share) * angle).sin() / sine * first + (share * angle).sin() / sine * second
    return torch.where(sine > NEARLY_PARALLEL, curved, linear(first, second, share))
