"""Features of a data set's images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.samples import FEATURES, Shards, write_features
from mimflow.data.pixels import to_unit
from mimflow.outputs.base import Output, Setting, fill
from mimflow.outputs.representation.spec import RepresentationSpec, TokenizerPlace
from mimflow.priors.base import NULL_CLASS
from mimflow.system.modules import SystemModules

SPLITS = ("train", "val")


class Representations(Output):
    """Features of both splits, in their order: `features.npz`."""

    def __init__(self, spec: RepresentationSpec):
        self.spec = spec

    def write(self, setting: Setting) -> dict[str, Any]:
        """Batches are kept as they are computed, as those of images are. Raises OutOfMemoryError."""
        splits: dict[str, tuple[Shards, np.ndarray]] = {}
        facts: dict[str, Any] = {}
        for name in SPLITS:
            split = setting.split(name)

            def draw(index: int, rows: range, images: np.ndarray = split.images) -> np.ndarray:
                return self.features(setting, images[rows.start : rows.stop])

            row = draw(0, range(1)).shape[1:]
            shards = Shards(setting.work / name, len(split), setting.drawing.batch_size, row, np.float32)
            facts[name] = fill(setting, shards, draw)
            splits[name] = (shards, split.labels)
        write_features(setting.work / "out" / FEATURES, splits)
        counts = {f"{name}_count": len(labels) for name, (_, labels) in splits.items()}
        seconds = sum(timed["seconds"] for timed in facts.values())
        return {**counts, "features": shards.row[0], "seconds": round(seconds, 3)}

    @torch.no_grad()
    def features(self, setting: Setting, images: np.ndarray) -> np.ndarray:
        """uint8 images (B, H, W, C) → (B, F) float32."""
        unit = to_unit(images).to(setting.device)
        return _features(self.spec, setting.modules, unit).float().cpu().numpy()


def _features(spec: RepresentationSpec, modules: SystemModules, images: Tensor) -> Tensor:
    tokenizer = modules.module("tokenizer")
    if isinstance(spec.where, TokenizerPlace):
        return tokenizer.representation(images, spec.where.what)
    labels = torch.full((len(images),), NULL_CLASS, device=images.device)
    return modules.module("prior")(tokenizer.encode(images), labels, spec.where.tap).hidden.mean(1)
