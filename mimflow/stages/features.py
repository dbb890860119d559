"""The features stage: what a frozen network makes of every image of a data set, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mimflow.artifacts.features import DTYPE, FeaturesFacts, features_file
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.rows import PIECE_BYTES, Rows, claim
from mimflow.artifacts.shard import WHOLE, Shard
from mimflow.compute.devices import resolve
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Prepared
from mimflow.data.sources.base import SPLITS
from mimflow.errors import NotFiniteError, StorageError
from mimflow.features.networks import FrozenNetwork, build_network
from mimflow.features.spec import NetworkSpec
from mimflow.progress import Progress
from mimflow.tasks import FeaturesTask

OUT_OF_MEMORY = "compute.device: cpu, or stored_features: false"
"""What to change where memory runs out."""
BATCH_SIZE = 64
"""Images that pass through the network at once."""
KEEP_EVERY = 64
"""Batches, at most, after which an interrupted pass need not be done again."""


def run(task: FeaturesTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> FeaturesFacts:
    """Write the features of both splits below `work/out`, going on where an interrupted attempt stopped.

    Raises ArtifactError for weights that are missing or do not fit, NotFiniteError for features beyond float16, and
    StorageError if the disk is full.
    """
    device, arrays = _pass(task, inputs, work, progress, WHOLE)
    files = {name: features_file(name, task.network.name) for name in SPLITS}
    for name, rows in arrays.items():
        rows.link(work / "out" / files[name])
    return FeaturesFacts(
        network=task.network.name,
        places=task.network.side**2,
        channels=task.network.channels,
        images={name: rows.shape[0] for name, rows in arrays.items()},
        device=device.type,
    )


def draw(task: FeaturesTask, inputs: dict[str, Artifact], work: Path, progress: Progress, shard: Shard) -> None:
    """Compute a shard of what `run` then finds computed; raises what it raises."""
    _pass(task, inputs, work, progress, shard)


def _pass(
    task: FeaturesTask, inputs: dict[str, Artifact], work: Path, progress: Progress, shard: Shard
) -> tuple[torch.device, dict[str, Rows]]:
    """The device, and the arrays of both splits with all pieces of the shard in them."""
    device = resolve(task.compute.device)
    torch.set_num_threads(task.compute.threads)
    network = build_network(task.network).to(device)
    prepared = Prepared.open(inputs["data"])
    splits = {name: prepared.split(name) for name in SPLITS}
    files = {name: features_file(name, task.network.name) for name in SPLITS}
    job = task.job(inputs)
    arrays = {name: _rows(work / "rows" / files[name], len(split), task.network, job) for name, split in splits.items()}
    out = work / "out"
    out.mkdir(parents=True, exist_ok=True)
    try:
        for file in files.values():
            # Of an attempt that ended before the store had it: a second name of the rows' file.
            (out / file).unlink(missing_ok=True)
        claim(*arrays.values())
        own = [(name, index) for name, rows in arrays.items() for index in range(rows.count) if shard.takes(index)]
        pending = [(name, index) for name, index in own if arrays[name].record(index) is None]
        total, left = (sum(len(arrays[name].piece(index)) for name, index in places) for places in (own, pending))
        done = total - left
        progress.start(total, done, unit="image")
        for name, index in pending:
            parts = []
            piece = arrays[name].piece(index)
            for begin in range(piece.start, piece.stop, BATCH_SIZE):
                images = splits[name].images[begin : min(begin + BATCH_SIZE, piece.stop)]
                parts.append(_features(task.network, network, device, images))
                done += len(images)
                progress.advance(done, images=len(images))
            arrays[name].write(index, np.concatenate(parts))
    except StorageError as error:
        raise StorageError(f"{error} (or stored_features: false)") from error
    return device, arrays


def _rows(path: Path, count: int, network: NetworkSpec, job: str) -> Rows:
    """A split's features on their way; a piece is some whole batches, so that all batches are those of one pass."""
    shape = (network.side**2, network.channels)
    batch = BATCH_SIZE * int(np.prod(shape)) * DTYPE.itemsize
    return Rows(path, (count, *shape), DTYPE, BATCH_SIZE * max(1, min(KEEP_EVERY, PIECE_BYTES // batch)), job)


@torch.no_grad()
def _features(spec: NetworkSpec, network: FrozenNetwork, device: torch.device, images: np.ndarray) -> np.ndarray:
    features = network.features(to_unit(images).to(device)).half()
    if not features.isfinite().all():
        raise NotFiniteError(f"{spec.name}: features leave the range of float16 (stored_features: false)")
    array: np.ndarray = features.cpu().numpy()
    return array
