"""Features of a data set's images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.representation import REPRESENTATION, RepresentationFacts, write_representation
from mimflow.artifacts.rows import Rows
from mimflow.artifacts.shard import Shard
from mimflow.data.pixels import to_unit
from mimflow.data.sources.base import SPLITS
from mimflow.outputs.base import Batch, Output, Setting, fill
from mimflow.outputs.representation.spec import EncoderPlace, RepresentationSpec, TokenizerPlace
from mimflow.priors.base import NULL_CLASS
from mimflow.system.modules import SystemModules


class Representations(Output):
    """Features of both splits, in their order: `features.npz`."""

    def __init__(self, spec: RepresentationSpec):
        self.spec = spec

    def draw(self, setting: Setting, shard: Shard) -> None:
        """Raises OutOfMemoryError."""
        for name in SPLITS:
            fill(setting, *self._batches(setting, name), shard)

    def _batches(self, setting: Setting, name: str) -> tuple[Rows, Callable[[range], Batch]]:
        """The array that a split's features go to batch by batch, and what computes a batch."""
        images = setting.split(name).images

        def draw(rows: range) -> Batch:
            return self.features(setting, images[rows.start : rows.stop]), {}

        shape = (len(images), *draw(range(1))[0].shape[1:])
        length = setting.drawing.batch_size
        return Rows(setting.work / f"{name}.npy", shape, np.dtype(np.float32), length, setting.job), draw

    def write(self, setting: Setting) -> RepresentationFacts:
        """Batches are kept as they are computed, as those of images are. Raises OutOfMemoryError."""
        splits: dict[str, tuple[Rows, np.ndarray]] = {}
        seconds = 0.0
        for name in SPLITS:
            rows, draw = self._batches(setting, name)
            seconds += fill(setting, rows, draw).seconds
            splits[name] = (rows, setting.split(name).labels)
        write_representation(setting.work / "out" / REPRESENTATION, splits)
        return RepresentationFacts(
            train_count=len(splits["train"][1]),
            val_count=len(splits["val"][1]),
            features=rows.shape[1],
            weights=setting.weights,
            device=setting.device.type,
            seconds=round(seconds, 3),
        )

    @torch.no_grad()
    def features(self, setting: Setting, images: np.ndarray) -> np.ndarray:
        """uint8 images (B, H, W, C) → (B, F) float32."""
        unit = to_unit(images).to(setting.device)
        return _features(self.spec, setting.modules, unit).float().cpu().numpy()


def _features(spec: RepresentationSpec, modules: SystemModules, images: Tensor) -> Tensor:
    tokenizer = modules.module("tokenizer")
    if isinstance(spec.where, TokenizerPlace):
        return tokenizer.representation(images, spec.where.what)
    if isinstance(spec.where, EncoderPlace):
        return tokenizer.hidden(images, spec.where.layer)
    labels = torch.full((len(images),), NULL_CLASS, device=images.device)
    return modules.module("prior")(tokenizer.encode(images), labels, spec.where.tap).hidden.mean(1)
