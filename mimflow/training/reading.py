"""Reading ahead of the step: threads copy the rows of the next parts from the store while a device computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Split
from mimflow.objectives.base import Batch
from mimflow.tokenizers.base import Posterior

READERS = 4
"""Threads that read: rows lie scattered in a file that may be larger than memory, and disks have latency."""
AHEAD = 6
"""Parts that are read before they are asked for."""
WORTHWHILE = 2**20
"""Bytes of a part from which it is read ahead: handing a smaller one over takes longer than reading it."""


@dataclass(frozen=True)
class Rows:
    """What the store holds of some images, as it lies there, in memory of this process."""

    indices: np.ndarray
    """(B,) places in the split."""
    images: Tensor
    """(B, H, W, C) uint8."""
    labels: Tensor
    """(B,) int64."""
    features: dict[str, Tensor]
    """(B, places, channels) float16 by the network's name."""
    latents: dict[str, Tensor]
    """`mean` and perhaps `spread`, (B, 2, tokens, channels) float16; then there are no images."""

    @property
    def bytes(self) -> int:
        """How much memory they take."""
        return sum(rows.nbytes for rows in (self.images, self.labels, *self.features.values(), *self.latents.values()))

    def on(self, device: torch.device, mirrored: Tensor | None = None) -> Batch:
        """The batch that they are, on a device: bytes go there, and become numbers there.

        `mirrored` (B,) bool says of which images the mirror image's latents are meant.
        """
        return Batch(
            to_unit(self.images.to(device, non_blocking=True)),
            self.labels.to(device, non_blocking=True),
            torch.from_numpy(self.indices).to(device, non_blocking=True),
            {name: rows.to(device, non_blocking=True).float() for name, rows in self.features.items()},
            self._posterior(device, mirrored) if self.latents else None,
        )

    def _posterior(self, device: torch.device, mirrored: Tensor | None) -> Posterior:
        chosen = torch.zeros(len(self.labels), dtype=torch.int64) if mirrored is None else mirrored.long()
        each, which = torch.arange(len(chosen), device=device), chosen.to(device, non_blocking=True)
        # Channel by channel in memory, as convolutions leave them: generators fill memory in its order, and draws are
        # to be those that are made from images.
        of = {
            name: rows.to(device, non_blocking=True)[each, which].float().mT.contiguous().mT
            for name, rows in self.latents.items()
        }
        return Posterior(of["mean"], 2 * of["spread"].log() if "spread" in of else None)


def read(split: Split, indices: np.ndarray, pinned: bool = False) -> Rows:
    """Read the rows of a split at these places; into pinned memory where a GPU is to fetch them from it."""
    return Rows(
        indices,
        torch.empty((len(indices), 0, 0, 0), dtype=torch.uint8)
        if split.latents
        else _take(split.images, indices, pinned),
        _take(split.labels, indices, pinned),
        {name: _take(rows, indices, pinned) for name, rows in split.features.items()},
        {name: _take(rows, indices, pinned) for name, rows in split.latents.items()},
    )


def _take(array: np.ndarray, indices: np.ndarray, pinned: bool) -> Tensor:
    shape = (len(indices), *array.shape[1:])
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    rows = torch.empty(shape, dtype=dtype, pin_memory=pinned)
    # `clip` writes where it is told to; `raise` would make a copy first. Places are within the split.
    np.take(array, indices, axis=0, out=rows.numpy(), mode="clip")
    return rows


class ReadAhead:
    """The rows of parts that are asked for one after the other: those that follow are read meanwhile.

    `places` gives the places (B,) in the split of the part at a position, counted from 0 without an end. Whoever asks
    for another position than the next one gets it, too, and reading goes on from there.
    """

    def __init__(self, split: Split, places: Callable[[int], np.ndarray], pinned: bool):
        self._split = split
        self._places = places
        self._pinned = pinned
        self._pool = ThreadPoolExecutor(READERS, "read-ahead")
        self._next = 0
        self._waiting: deque[Future[Rows]] = deque()

    def take(self, position: int) -> Rows:
        """The rows of the part at this position."""
        if position != self._next:
            for future in self._waiting:
                future.cancel()
            self._waiting.clear()
        for following in range(position + len(self._waiting), position + AHEAD + 1):
            self._waiting.append(self._pool.submit(read, self._split, self._places(following), self._pinned))
        self._next = position + 1
        return self._waiting.popleft().result()
