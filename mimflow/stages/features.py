"""The features stage: what a frozen network makes of every image of a data set, computed once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from mimflow.artifacts.manifest import Artifact, write_text
from mimflow.compute.devices import resolve
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Prepared, Split
from mimflow.data.sources.base import SPLITS
from mimflow.errors import NotFiniteError, StorageError
from mimflow.features.networks import FrozenNetwork, build_network
from mimflow.features.spec import NetworkSpec
from mimflow.progress import Progress
from mimflow.tasks import FeaturesTask

BATCH_SIZE = 64
"""Images that pass through the network at once."""
KEEP_EVERY = 64
"""Batches after which an interrupted pass need not be done again."""


def features_file(split: str, network: NetworkSpec) -> str:
    """The name of a split's features: float16 (N, side², channels)."""
    return f"{split}.{network.name}.npy"


def run(task: FeaturesTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> dict[str, Any]:
    """Write the features of both splits below `work/out`, going on where an interrupted attempt stopped.

    Raises ArtifactError for weights that are missing or do not fit, NotFiniteError for features beyond float16, and
    StorageError if the disk is full.
    """
    device = resolve(task.compute.device)
    torch.set_num_threads(task.compute.threads)
    (work / "out").mkdir(parents=True, exist_ok=True)
    network = build_network(task.network).to(device)
    prepared = Prepared.open(inputs["data"])
    splits = {name: prepared.split(name) for name in SPLITS}
    passes = [Pass(task.network, network, device, split, work / f"{name}.npy") for name, split in splits.items()]
    progress.start(sum(map(len, splits.values())), sum(each.ready for each in passes), unit="image")
    done = 0
    for each in passes:
        each.run(progress, done)
        done += len(each.split)
    for name, each in zip(splits, passes, strict=True):
        each.path.replace(work / "out" / features_file(name, task.network))
    return {
        "network": task.network.name,
        "places": task.network.side**2,
        "channels": task.network.channels,
        "images": {name: len(split) for name, split in splits.items()},
        "device": device.type,
    }


@dataclass(frozen=True)
class Pass:
    """A split on its way through a network, into a `.npy` file whose first rows are ready."""

    spec: NetworkSpec
    network: FrozenNetwork
    device: torch.device
    split: Split
    path: Path

    @property
    def ready(self) -> int:
        """The rows that an earlier attempt has written."""
        counter = self._counter
        return int(counter.read_text(encoding="utf-8")) if counter.is_file() and self.path.is_file() else 0

    def run(self, progress: Progress, before: int) -> None:
        """Write the other rows; `before` images of other splits are done."""
        shape = (len(self.split), self.spec.side**2, self.spec.channels)
        first = self.ready
        try:
            # Not through a memory map: a full disk would end the process with SIGBUS instead of raising OSError.
            with self.path.open("r+b" if first else "wb") as stream:
                header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
                stream.seek(first * shape[1] * shape[2] * 2, os.SEEK_CUR)
                self._append(stream, first, progress, before)
        except OSError as error:
            size = np.prod(shape, dtype=float) * 2 / 1e9
            raise StorageError(
                f"{self.path}: can't write {size:.3g} GB of features: {error.strerror} (or stored_features: false)"
            ) from error

    def _append(self, stream: BinaryIO, first: int, progress: Progress, before: int) -> None:
        for begin in range(first, len(self.split), BATCH_SIZE):
            end = min(begin + BATCH_SIZE, len(self.split))
            stream.write(self._features(begin, end).tobytes())
            if end % (KEEP_EVERY * BATCH_SIZE) == 0 or end == len(self.split):
                stream.flush()
                os.fsync(stream.fileno())
                write_text(self._counter, str(end))
            progress.advance(before + end, images=end - begin)

    @torch.no_grad()
    def _features(self, begin: int, end: int) -> np.ndarray:
        features = self.network.features(to_unit(self.split.images[begin:end]).to(self.device)).half()
        if not features.isfinite().all():
            raise NotFiniteError(f"{self.spec.name}: features leave the range of float16 (stored_features: false)")
        return features.cpu().numpy()

    @property
    def _counter(self) -> Path:
        return self.path.with_suffix(".rows")
