"""Decoding noisy latents of the data, as many as samples are drawn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mimflow.data.pixels import to_unit
from mimflow.errors import DataError
from mimflow.nn.noise import add_noise
from mimflow.outputs.base import Drawn, ImageOutput, Setting
from mimflow.outputs.labels import draw_labels
from mimflow.outputs.oracle.spec import OracleSpec
from mimflow.priors.base import NULL_CLASS
from mimflow.seeds import derive


class Oracle(ImageOutput):
    """`decode(encode(x) + noise)` of images of a split, of the classes that a sampler of the prior draws."""

    def __init__(self, spec: OracleSpec):
        self.spec = spec
        self._chosen = np.empty(0, np.int64)

    def labels(self, setting: Setting) -> np.ndarray:
        labels = draw_labels(setting)
        self._chosen = self._choose(setting, labels)
        return labels

    def _choose(self, setting: Setting, labels: np.ndarray) -> np.ndarray:
        """The place in the split of an image for each label (N,): those of a class in a random order, over and over."""
        theirs = setting.split(self.spec.split).labels
        random = np.random.default_rng(derive(setting.seed, setting.drawing.seed, "oracle"))
        chosen = np.empty(len(labels), np.int64)
        for label in np.unique(labels):
            wanted = np.flatnonzero(labels == label)
            there = np.arange(len(theirs)) if label == NULL_CLASS else np.flatnonzero(theirs == label)
            if not len(there):
                raise DataError(f"the {self.spec.split} split has no image of class {label} (output.split: train)")
            chosen[wanted] = np.resize(random.permutation(there), len(wanted))
        return chosen

    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        chosen = setting.split(self.spec.split).images[self._chosen[rows.start : rows.stop]]
        tokenizer, draws = setting.modules.module("tokenizer"), setting.draws(rows)
        with torch.no_grad():
            images = to_unit(chosen).to(setting.device)
            latents = tokenizer.encode_for_training(images, self.spec.masked, draws).latents
            return Drawn(tokenizer.decode(add_noise(latents, self.spec.noise, draws)))
