"""Batches of a prepared split: which images a step sees, and how they are changed, follows from seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from mimflow.data.augment import augment, draw_mirrored
from mimflow.data.prepared import Split
from mimflow.data.spec import Augment
from mimflow.errors import DataError
from mimflow.objectives.base import Batch
from mimflow.seeds import derive
from mimflow.training.reading import WORTHWHILE, ReadAhead, read


class InOrder:
    """A whole split, image after image, unchanged; the last batch may be smaller."""

    def __init__(self, split: Split, batch_size: int, device: torch.device):
        self.split = split
        self.batch_size = batch_size
        self.device = device

    def __len__(self) -> int:
        return -(-len(self.split.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.batch, range(len(self)))

    def batch(self, index: int) -> Batch:
        """One of them, counted from 0."""
        begin = index * self.batch_size
        end = min(begin + self.batch_size, len(self.split.labels))
        return take(self.split, np.arange(begin, end), self.device)


class Shuffled:
    """A split in a new order each epoch, what does not fill a batch left out; a batch comes in `parts`.

    `own` are the parts that this process asks for, in this order (not given: all); they are read ahead of the step.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        parts: int,
        changes: Augment,
        seed: int,
        device: torch.device,
        own: Sequence[int] | None = None,
    ):
        if len(split.labels) < batch_size:
            raise DataError(
                f"phase.batch_size: {batch_size} is more than the {len(split.labels)} training images "
                f"(at most {len(split.labels)})"
            )
        self.split = split
        self.batch_size = batch_size
        self.part_size = batch_size // parts
        self.changes = changes
        self.seed = seed
        self.device = device
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)
        self._own = list(range(parts)) if own is None else list(own)
        large = read(split, np.arange(1)).bytes * self.part_size >= WORTHWHILE
        self._ahead = ReadAhead(split, self._places_at, pinned=device.type == "cuda") if large else None

    @property
    def steps_per_epoch(self) -> int:
        return len(self.split.labels) // self.batch_size

    def part(self, step: int, part: int) -> Batch:
        """Part `part` of the batch of step `step`, both counted from 0, augmented by PyTorch's own generator."""
        if self._ahead is None or part not in self._own:
            rows = read(self.split, self._places(step, part))
        else:
            rows = self._ahead.take(step * len(self._own) + self._own.index(part))
        if self.split.latents:
            return rows.on(self.device, draw_mirrored(self.part_size) if self.changes.flip else None)
        batch = rows.on(self.device)
        return replace(batch, images=augment(batch.images, self.changes))

    def _places_at(self, position: int) -> np.ndarray:
        step, index = divmod(position, len(self._own))
        return self._places(step, self._own[index])

    def _places(self, step: int, part: int) -> np.ndarray:
        """The places (B,) of a part's images in the split."""
        epoch, place = divmod(step, self.steps_per_epoch)
        begin = place * self.batch_size + part * self.part_size
        return self._indices(epoch)[begin : begin + self.part_size]

    def _indices(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive(self.seed, "epoch", epoch))
            self._order = torch.randperm(len(self.split.labels), generator=generator).numpy()
            self._epoch = epoch
        return self._order


def take(split: Split, indices: np.ndarray, device: torch.device) -> Batch:
    """The images, labels and stored features at these places of a split."""
    return read(split, indices).on(device)
