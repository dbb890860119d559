"""The latents stage: what a frozen tokenizer makes of every image of a data set and its mirror image, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimflow.artifacts.checkpoint import weights_file
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.rows import PIECE_BYTES, Rows, claim
from mimflow.artifacts.stored_latents import DTYPE, MEAN, SPREAD, StoredLatentsFacts, latents_file
from mimflow.compute.devices import resolve
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Prepared
from mimflow.data.sources.base import SPLITS
from mimflow.errors import NotFiniteError, StorageError
from mimflow.progress import Progress
from mimflow.spec.shapes import LatentShape
from mimflow.system.modules import SystemModules, load_weights
from mimflow.system.spec import System
from mimflow.tasks import LatentsTask
from mimflow.tokenizers.base import Tokenizer
from mimflow.weights.given import given_file

OUT_OF_MEMORY = "compute.device: cpu, or stored_latents: false"
"""What to change where memory runs out."""
BATCH_SIZE = 32
"""Images that pass through the tokenizer at once, each with its mirror image."""


def run(task: LatentsTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> StoredLatentsFacts:
    """Write means and spreads of both splits below `work/out`, going on where an interrupted attempt stopped.

    Raises ArtifactError for weights that are missing or do not fit, NotFiniteError for latents beyond float16, and
    StorageError if the disk is full.
    """
    device = resolve(task.compute.device)
    torch.set_num_threads(task.compute.threads)
    tokenizer = _tokenizer(task, inputs).to(device).eval()
    shape = task.tokenizer.latent_shape(task.shapes.image)
    parts = (MEAN, SPREAD) if task.tokenizer.samples else (MEAN,)
    prepared = Prepared.open(inputs["data"])
    splits = {name: prepared.split(name) for name in SPLITS}
    job = task.job(inputs)
    arrays = {
        (name, part): _rows(work / "rows" / latents_file(name, part), len(split), shape, job)
        for name, split in splits.items()
        for part in parts
    }
    out = work / "out"
    out.mkdir(parents=True, exist_ok=True)
    try:
        for name, part in arrays:
            # Of an attempt that ended before the store had it: a second name of the rows' file.
            (out / latents_file(name, part)).unlink(missing_ok=True)
        claim(*arrays.values())
        pending = [
            (name, index)
            for name in splits
            for index in sorted(set().union(*(arrays[name, part].missing() for part in parts)))
        ]
        done = sum(map(len, splits.values())) - sum(len(arrays[name, MEAN].piece(index)) for name, index in pending)
        progress.start(sum(map(len, splits.values())), done, unit="image")
        for name, index in pending:
            piece = arrays[name, MEAN].piece(index)
            batches = []
            for begin in range(piece.start, piece.stop, BATCH_SIZE):
                images = splits[name].images[begin : min(begin + BATCH_SIZE, piece.stop)]
                batches.append(_latents(tokenizer, to_unit(images).to(device), parts))
                done += len(images)
                progress.advance(done, images=len(images))
            for part in parts:
                arrays[name, part].write(index, np.concatenate([batch[part] for batch in batches]))
    except StorageError as error:
        raise StorageError(f"{error} (or stored_latents: false)") from error
    for (name, part), rows in arrays.items():
        rows.link(out / latents_file(name, part))
    return StoredLatentsFacts(
        tokens=shape.tokens,
        channels=shape.channels,
        drawn=SPREAD in parts,
        images={name: len(split) for name, split in splits.items()},
        device=device.type,
    )


def _tokenizer(task: LatentsTask, inputs: dict[str, Artifact]) -> Tokenizer:
    modules = SystemModules(System(tokenizer=task.tokenizer), task.shapes)
    if "weights" in inputs:
        load_weights(modules, inputs["weights"].file(weights_file(task.ema)), ["tokenizer"])
    elif task.weights is not None:
        load_weights(modules, given_file(task.weights, "the tokenizer's weights"), ["tokenizer"])
    else:
        modules.module("tokenizer").load_given_weights()
    return modules.module("tokenizer")


def _rows(path: Path, count: int, shape: LatentShape, job: str) -> Rows:
    """A split's means or spreads on their way; a piece is some whole batches, so that all batches are of one pass."""
    row = (2, shape.tokens, shape.channels)
    batch = BATCH_SIZE * int(np.prod(row)) * DTYPE.itemsize
    return Rows(path, (count, *row), DTYPE, BATCH_SIZE * max(1, PIECE_BYTES // batch), job)


@torch.no_grad()
def _latents(tokenizer: Tokenizer, images: Tensor, parts: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Images (B, C, H, W) → means and spreads (B, 2, tokens, channels) in float16."""
    both = [tokenizer.posterior(images), tokenizer.posterior(images.flip(3))]
    of = {MEAN: torch.stack([posterior.mean for posterior in both], 1)}
    if SPREAD in parts:
        variances = [posterior.log_variance for posterior in both if posterior.log_variance is not None]
        of[SPREAD] = (0.5 * torch.stack(variances, 1)).exp()
    halves = {part: numbers.half() for part, numbers in of.items()}
    if not all(half.isfinite().all() for half in halves.values()):
        raise NotFiniteError("latents leave the range of float16 (stored_latents: false)")
    return {part: half.cpu().numpy() for part, half in halves.items()}
