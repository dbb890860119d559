"""Latents of a data set's images, and latents that a prior draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.latents import LATENTS, LatentsFacts, write_latents
from mimflow.artifacts.rows import Rows
from mimflow.artifacts.shard import Shard
from mimflow.data.pixels import to_unit
from mimflow.errors import NotFiniteError
from mimflow.nn.draws import Draws
from mimflow.nn.modes import evaluating
from mimflow.nn.noise import add_noise
from mimflow.outputs.base import Batch, Output, Setting, fill
from mimflow.outputs.inverse.output import InverseSampler
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.outputs.labels import draw_labels
from mimflow.outputs.latents.spec import DataLatents, LatentsSpec, PriorLatents
from mimflow.outputs.prior import PriorSampler
from mimflow.outputs.velocity.output import OdeSampler, SdeSampler
from mimflow.outputs.velocity.spec import OdeSpec
from mimflow.tokenizers.base import Tokenizer


class Latents(Output):
    """Latents, undecoded: `latents.npz`."""

    def __init__(self, spec: LatentsSpec):
        self.spec = spec

    def draw(self, setting: Setting, shard: Shard) -> None:
        """Raises NotFiniteError and OutOfMemoryError."""
        _, rows, draw = self._batches(setting)
        fill(setting, rows, draw, shard)

    def _batches(self, setting: Setting) -> tuple[np.ndarray, Rows, Callable[[range], Batch]]:
        """The classes of all latents, the array that they go to batch by batch, and what makes a batch."""
        source = _OfData(self.spec.of) if isinstance(self.spec.of, DataLatents) else _OfPrior(self.spec.of)
        labels = source.labels(setting)
        shape = latent_map_shape(setting)
        length = setting.drawing.batch_size
        rows = Rows(setting.work / "latents.npy", (len(labels), *shape), np.dtype(np.float32), length, setting.job)

        def draw(places: range) -> Batch:
            classes = torch.from_numpy(labels[places.start : places.stop]).to(setting.device)
            with torch.no_grad():
                tokens = source.latents(setting, places, classes).float()
            broken = int((~tokens.isfinite().flatten(1).all(1)).sum())
            if broken:
                raise NotFiniteError(f"latents of {broken} of {len(tokens)} images are not finite")
            return _as_maps(tokens, shape).cpu().numpy(), {}

        return labels, rows, draw

    def write(self, setting: Setting) -> LatentsFacts:
        """Batches are kept as they are made, as those of images are. Raises NotFiniteError and OutOfMemoryError."""
        labels, rows, draw = self._batches(setting)
        took = fill(setting, rows, draw)
        write_latents(setting.work / "out" / LATENTS, rows, labels)
        return LatentsFacts(
            count=len(labels),
            shape=rows.shape[1:],
            weights=setting.weights,
            device=setting.device.type,
            seconds=round(took.seconds, 3),
        )


def latent_map_shape(setting: Setting) -> tuple[int, ...]:
    """The shape of an image's latents: (C, H, W) where their tokens have a grid, (T, D) where they have none."""
    tokenizer = setting.modules.spec.tokenizer
    assert tokenizer is not None
    latent = tokenizer.latent_shape(setting.shapes.image)
    return (latent.tokens, latent.channels) if latent.grid is None else (latent.channels, *latent.grid)


def _as_maps(tokens: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Tokens (B, T, D), raster order → (B, C, H, W) where `shape` is a map's, and as they are where it is not."""
    return tokens if len(shape) == 2 else tokens.transpose(1, 2).reshape(len(tokens), *shape)


class _Source(Protocol):
    """Whose latents they are."""

    def labels(self, setting: Setting) -> np.ndarray:
        """The classes (N,) int64 of the latents, −1 for none."""

    def latents(self, setting: Setting, rows: range, labels: Tensor) -> Tensor:
        """Latents (B, tokens, channels) at `rows`, of classes (B,) on the device."""


class _OfData:
    def __init__(self, spec: DataLatents):
        self.spec = spec

    def labels(self, setting: Setting) -> np.ndarray:
        return setting.split(self.spec.split).labels

    def latents(self, setting: Setting, rows: range, labels: Tensor) -> Tensor:
        images = to_unit(setting.split(self.spec.split).images[rows.start : rows.stop]).to(setting.device)
        draws = setting.draws(rows)
        return add_noise(self._encoded(setting.modules.module("tokenizer"), images, draws), self.spec.noise, draws)

    def _encoded(self, tokenizer: Tokenizer, images: Tensor, draws: Draws) -> Tensor:
        if self.spec.masked or self.spec.posterior == "sample":
            return tokenizer.encode_for_training(images, self.spec.masked, draws).latents
        return tokenizer.encode(images)


class _OfPrior:
    def __init__(self, spec: PriorLatents):
        sampler = spec.sampler
        self.sampler: PriorSampler
        if isinstance(sampler, InverseSpec):
            self.sampler = InverseSampler(sampler)
        else:
            self.sampler = OdeSampler(sampler) if isinstance(sampler, OdeSpec) else SdeSampler(sampler)

    def labels(self, setting: Setting) -> np.ndarray:
        return draw_labels(setting)

    def latents(self, setting: Setting, rows: range, labels: Tensor) -> Tensor:
        prior = setting.modules.module("prior")
        with evaluating(prior):
            return self.sampler.latents(prior, labels, setting.draws(rows))
