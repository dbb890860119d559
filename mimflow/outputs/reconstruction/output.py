"""Encoding a split's images and decoding them again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.rows import Rows
from mimflow.artifacts.samples import GRID, PAIRS, write_samples
from mimflow.data.pixels import to_unit
from mimflow.nn.noise import add_noise
from mimflow.outputs.base import Drawn, ImageOutput, Setting
from mimflow.outputs.grid import COLUMNS, cells, choose, write_grid
from mimflow.outputs.reconstruction.spec import ReconstructionSpec


class Reconstructions(ImageOutput):
    """`decode(encode(x))` of every image of a split, in its order; also `pairs.npz`, some beside their originals."""

    def __init__(self, spec: ReconstructionSpec):
        self.spec = spec

    def labels(self, setting: Setting) -> np.ndarray:
        return setting.split(self.spec.split).labels

    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        images = to_unit(setting.split(self.spec.split).images[rows.start : rows.stop]).to(setting.device)
        tokenizer = setting.modules.module("tokenizer")
        draws, ratio = setting.draws(rows), self.spec.mask_ratio
        with torch.no_grad():
            latents = tokenizer.encode_hiding(images, ratio, draws) if ratio else tokenizer.encode(images)
            return Drawn(tokenizer.decode(add_noise(latents, self.spec.noise, draws)))

    def pictures(self, setting: Setting, images: Rows, labels: np.ndarray) -> None:
        """Original and reconstruction in turn."""
        split = setting.split(self.spec.split)
        write_pairs(setting, images, labels, lambda places: split.images[places])


def write_pairs(
    setting: Setting, images: Rows, labels: np.ndarray, originals: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Original and image in turn: as a picture, and as `pairs.npz` for the pictures of tables.

    `originals` gives those (P, H, W, C) uint8 of the images at places (P,).
    """
    positions = choose(labels, COLUMNS // 2)
    pairs = np.repeat(cells(images, positions), 2, axis=1)
    there = positions >= 0
    pairs[:, ::2][there] = originals(positions[there])
    write_grid(setting.work / "out" / GRID, pairs)

    kept = np.repeat(positions, 2, axis=1)
    kept = kept[kept >= 0]
    shown = pairs[np.repeat(there, 2, axis=1)]
    write_samples(setting.work / "out" / PAIRS, [shown], labels[kept], images.shape[1:])
