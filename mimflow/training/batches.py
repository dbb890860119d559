"""Batches of a prepared split: which images a step sees, and how they are changed, follows from seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from mimflow.data.augment import augment
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Split
from mimflow.data.spec import Augment
from mimflow.errors import DataError
from mimflow.objectives.base import Batch
from mimflow.seeds import derive


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
    """A split in a new order each epoch, what does not fill a batch left out; a batch comes in `parts`."""

    def __init__(self, split: Split, batch_size: int, parts: int, changes: Augment, seed: int, device: torch.device):
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

    @property
    def steps_per_epoch(self) -> int:
        return len(self.split.labels) // self.batch_size

    def part(self, step: int, part: int) -> Batch:
        """Part `part` of the batch of step `step`, both counted from 0, augmented by PyTorch's own generator."""
        epoch, place = divmod(step, self.steps_per_epoch)
        begin = place * self.batch_size + part * self.part_size
        batch = take(self.split, self._indices(epoch)[begin : begin + self.part_size], self.device)
        return replace(batch, images=augment(batch.images, self.changes))

    def _indices(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive(self.seed, "epoch", epoch))
            self._order = torch.randperm(len(self.split.labels), generator=generator).numpy()
            self._epoch = epoch
        return self._order


def take(split: Split, indices: np.ndarray, device: torch.device) -> Batch:
    """The images, labels and stored features at these places of a split."""
    return Batch(
        to_unit(split.images[indices]).to(device),
        torch.from_numpy(split.labels[indices]).to(device),
        torch.from_numpy(indices).to(device),
        {name: torch.from_numpy(rows[indices]).to(device).float() for name, rows in split.features.items()},
    )
