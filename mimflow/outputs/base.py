"""What a output does, and how its batches are kept while they are made."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.samples import SAMPLES, Shards, write_samples
from mimflow.data.pixels import to_uint8
from mimflow.data.prepared import Prepared, Split
from mimflow.errors import OutOfMemoryError
from mimflow.outputs.drawing import Drawing
from mimflow.progress import Progress
from mimflow.seeds import derive
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes


@dataclass(frozen=True)
class Setting:
    """What an output is made from, and where it is written."""

    shapes: Shapes
    drawing: Drawing
    """`Samples` for what is drawn from the prior."""
    seed: int
    """The run's."""
    modules: SystemModules
    """With the weights that the output asks for, on `device`, in evaluation mode."""
    data: Prepared | None
    """The run's data set, for outputs whose spec `reads_data`."""
    device: torch.device
    work: Path
    """Results go below `out`, batches that a later attempt may use beside it."""
    progress: Progress
    _splits: dict[str, Split] = field(default_factory=dict, init=False)

    def split(self, name: str) -> Split:
        """A split of the data set, its files verified once."""
        assert self.data is not None
        if name not in self._splits:
            self._splits[name] = self.data.split(name)
        return self._splits[name]


class Output(ABC):
    """Draws from a trained system. Built as `Output(spec)`."""

    @abstractmethod
    def write(self, setting: Setting) -> dict[str, Any]:
        """Write the results below `setting.work / "out"`; returns facts for the manifest."""


class ImageOutput(Output):
    """Draws images: the results are `samples.npz`, as guided-diffusion reads it, and a picture of some."""

    @abstractmethod
    def labels(self, setting: Setting) -> np.ndarray:
        """The classes (N,) int64 of the images, −1 for none."""

    @abstractmethod
    def batch(self, setting: Setting, rows: range, labels: Tensor, seed: int) -> Tensor:
        """The images (B, C, H, W) at `rows`, of classes (B,) on the device; what is random follows from `seed`."""

    @abstractmethod
    def pictures(self, setting: Setting, shards: Shards, labels: np.ndarray) -> None:
        """Write a picture of some of the images."""

    def write(self, setting: Setting) -> dict[str, Any]:
        """Batches are kept as they are drawn: a later attempt goes on where this one stopped, to the same bytes.

        Raises NotFiniteError rather than draw a broken image again, and OutOfMemoryError.
        """
        drawing, shapes = setting.drawing, setting.shapes
        labels = self.labels(setting)
        image = (shapes.size, shapes.size, shapes.channels)
        shards = Shards(setting.work / "shards", len(labels), drawing.batch_size, image)

        def draw(index: int, rows: range) -> np.ndarray:
            classes = torch.from_numpy(labels[rows.start : rows.stop]).to(setting.device)
            seed = derive(setting.seed, drawing.seed, "sample", index)
            return to_uint8(self.batch(setting, rows, classes, seed), drawing.quantisation)

        facts = fill(setting, shards, draw)
        write_samples(setting.work / "out" / SAMPLES, shards, labels, shards.row)
        self.pictures(setting, shards, labels)
        return {"count": len(labels), **facts}


def fill(setting: Setting, shards: Shards, draw: Callable[[int, range], np.ndarray]) -> dict[str, Any]:
    """Draw every batch that no earlier attempt did; how long it took, for the manifest."""
    missing = shards.missing()
    done = len(shards.batches) - len(missing)
    setting.progress.start(len(shards.batches), done=done, unit="batch")
    drawn, began = 0, time.monotonic()
    for index in missing:
        rows = shards.batches[index]
        try:
            result = draw(index, rows)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"no memory left on {setting.device} for {len(rows)} images at once "
                f"(samples.batch_size: {max(1, setting.drawing.batch_size // 2)})"
            ) from error
        shards.write(index, result)
        drawn += len(rows)
        done += 1
        setting.progress.advance(done, images=len(rows))
    seconds = time.monotonic() - began
    return {"seconds": round(seconds, 3), "images_per_second": round(drawn / seconds, 2) if drawn else None}
