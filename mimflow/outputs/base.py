"""What an output does, and how its batches are kept while they are made."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.latents import LatentsFacts
from mimflow.artifacts.likelihood import LikelihoodFacts
from mimflow.artifacts.representation import RepresentationFacts
from mimflow.artifacts.rows import Rows, claim
from mimflow.artifacts.samples import GRID, SAMPLES, SamplesFacts, write_samples
from mimflow.artifacts.shard import WHOLE, Shard
from mimflow.compute.memory import memory_errors
from mimflow.data.pixels import to_uint8
from mimflow.data.prepared import Prepared, Split
from mimflow.nn.draws import Draws
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.grid import cells, choose, write_grid
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
    weights: str
    """The name of the file that they came from."""
    data: Prepared | None
    """The run's data set, for outputs whose spec `reads_data`."""
    device: torch.device
    work: Path
    """Results go below `out`, batches that a later attempt may use beside it."""
    progress: Progress
    job: str
    """The key of the job."""
    _splits: dict[str, Split] = field(default_factory=dict, init=False)

    def draws(self, numbers: Iterable[int], attempt: int = 0) -> Draws:
        """What is random about the images of these numbers: it follows from the seeds and the number alone.

        So batches of any size, in any number of jobs, draw the same. `attempt` is above 0 for images drawn again.
        """
        again = (attempt,) if attempt else ()
        return Draws(derive(self.seed, self.drawing.seed, "sample", number, *again) for number in numbers)

    def split(self, name: str) -> Split:
        """A split of the data set, its files verified once."""
        assert self.data is not None
        if name not in self._splits:
            self._splits[name] = self.data.split(name)
        return self._splits[name]


Batch = tuple[np.ndarray, dict[str, int]]
"""The rows of a piece, and what was counted while they were made."""


class Output(ABC):
    """Draws from a trained system. Built as `Output(spec)`."""

    @abstractmethod
    def draw(self, setting: Setting, shard: Shard) -> None:
        """Draw a shard of the batches, to be kept below `setting.work`; the rest is others'."""

    @abstractmethod
    def write(self, setting: Setting) -> SamplesFacts | RepresentationFacts | LatentsFacts | LikelihoodFacts:
        """Write the results below `setting.work / "out"`; returns the facts of the artifact that they are.

        Batches that shards, or earlier attempts, have drawn are not drawn again.
        """


class Drawn(NamedTuple):
    """A batch of images, and what was counted while they were drawn."""

    images: Tensor
    """(B, C, H, W) in [−1, 1]."""
    counts: dict[str, int] = {}
    """By the names of the facts that they add up to."""


class ImageOutput(Output):
    """Draws images: the results are `samples.npz`, as guided-diffusion reads it, and a picture of some."""

    @abstractmethod
    def labels(self, setting: Setting) -> np.ndarray:
        """The classes (N,) int64 of the images, −1 for none."""

    @abstractmethod
    def batch(self, setting: Setting, rows: range, labels: Tensor) -> Drawn:
        """The images at `rows`, of classes (B,) on the device; what is random comes from `setting.draws`."""

    def pictures(self, setting: Setting, images: Rows, labels: np.ndarray) -> None:
        """Write a picture of some of the images: a row a class."""
        write_grid(setting.work / "out" / GRID, cells(images, choose(labels)))

    def draw(self, setting: Setting, shard: Shard) -> None:
        """Raises NotFiniteError and OutOfMemoryError."""
        _, images, draw = self._batches(setting)
        fill(setting, images, draw, shard)

    def _batches(self, setting: Setting) -> tuple[np.ndarray, Rows, Callable[[range], Batch]]:
        """The classes of all images, the array that they go to batch by batch, and what draws a batch."""
        drawing, shapes = setting.drawing, setting.shapes
        labels = self.labels(setting)
        shape = (len(labels), shapes.size, shapes.size, shapes.channels)
        images = Rows(setting.work / "images.npy", shape, np.dtype(np.uint8), drawing.batch_size, setting.job)

        def draw(rows: range) -> Batch:
            classes = torch.from_numpy(labels[rows.start : rows.stop]).to(setting.device)
            drawn = self.batch(setting, rows, classes)
            return to_uint8(drawn.images, drawing.quantisation), drawn.counts

        return labels, images, draw

    def write(self, setting: Setting) -> SamplesFacts:
        """Batches are kept as they are drawn: a later attempt goes on where this one stopped, to the same bytes.

        Raises NotFiniteError and OutOfMemoryError.
        """
        labels, images, draw = self._batches(setting)
        took = fill(setting, images, draw)
        write_samples(setting.work / "out" / SAMPLES, images, labels, images.shape[1:])
        self.pictures(setting, images, labels)
        return SamplesFacts(
            count=len(labels),
            weights=setting.weights,
            device=setting.device.type,
            seconds=round(took.seconds, 3),
            images_per_second=round(took.images / took.seconds, 2) if took.images else None,
            redrawn=took.counts.get("redrawn", 0),
            overshot_scales=took.counts["overshot"] / took.counts["guided"] if took.counts.get("guided") else None,
        )


@dataclass(frozen=True)
class Took:
    """How many images an attempt has drawn, in which time."""

    images: int
    seconds: float
    counts: dict[str, int]
    """What was counted, added up over the batches of all attempts."""


def fill(setting: Setting, array: Rows, draw: Callable[[range], Batch], shard: Shard = WHOLE) -> Took:
    """Draw every batch of a shard, a piece of the array each, that no earlier attempt did; `draw` also counts."""
    claim(array)
    counts: Counter[str] = Counter()
    missing = []
    own = [index for index in range(array.count) if shard.takes(index)]
    for index in own:
        if (record := array.record(index)) is None:
            missing.append(index)
        else:
            counts.update(record.notes)
    done = len(own) - len(missing)
    setting.progress.start(len(own), done=done, unit="batch")
    drawn, began = 0, time.monotonic()
    for index in missing:
        rows = array.piece(index)
        with memory_errors(_out_of_memory(setting, len(rows))):
            result, counted = draw(rows)
        array.write(index, result, notes=counted)
        counts.update(counted)
        drawn += len(rows)
        done += 1
        setting.progress.advance(done, images=len(rows))
    return Took(drawn, time.monotonic() - began, dict(counts))


def _out_of_memory(setting: Setting, images: int) -> str:
    size = setting.drawing.batch_size
    hint = f"samples.batch_size: {size // 2}" if size > 1 else "the system does not fit with one image"
    return f"no memory left on {setting.device} for {images} image{'s' if images > 1 else ''} at once ({hint})"
