"""The sample stage: images drawn from a trained system."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.samples import Shards, write_samples
from mimflow.data.pixels import to_uint8
from mimflow.errors import OutOfMemoryError
from mimflow.plan.tasks import SampleTask
from mimflow.priors.base import NULL_CLASS
from mimflow.progress import Progress
from mimflow.samplers.registry import SAMPLERS
from mimflow.seeds import derive
from mimflow.stages.grid import write_grid
from mimflow.system import SystemModules, load_weights
from mimflow.training.devices import resolve


def run(task: SampleTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> dict[str, Any]:
    """Draw `task.samples.count` images; results are `samples.npz` and `grid.png`.

    Batches are kept in `work` as they are drawn: a later attempt goes on where this one stopped and ends in
    the same bytes. Raises NotFiniteError rather than draw a broken sample again, and OutOfMemoryError.
    """
    torch.set_num_threads(task.compute.threads)
    device = resolve(task.compute.device)
    modules = SystemModules(task.system, task.shapes)
    weights = "ema.safetensors" if task.sampler.ema else "weights.safetensors"
    load_weights(modules, inputs["weights"].file(weights))
    modules.to(device).eval()

    labels = _labels(task)
    size, channels = task.shapes.size, task.shapes.channels
    shards = Shards(work / "shards", task.samples.count, task.samples.batch_size, (size, size, channels))
    drawn, seconds = _draw(task, modules, labels, shards, device, progress)

    write_samples(work / "out" / "samples.npz", shards, labels, shards.image)
    write_grid(work / "out" / "grid.png", shards, labels)
    return {
        "count": task.samples.count,
        "weights": weights,
        "guidance": _describe(task.sampler.identity().get("guidance")),
        "device": device.type,
        "seconds": round(seconds, 3),
        "images_per_second": round(drawn / seconds, 2) if drawn else None,
    }


def _draw(
    task: SampleTask,
    modules: SystemModules,
    labels: np.ndarray,
    shards: Shards,
    device: torch.device,
    progress: Progress,
) -> tuple[int, float]:
    """Draw every batch that no earlier attempt did; how many images that were, and the seconds it took."""
    missing = shards.missing()
    done = len(shards.batches) - len(missing)
    progress.start(len(shards.batches), done=done, unit="batch")
    sampler = SAMPLERS.build(task.sampler)
    tokenizer, prior = modules.module("tokenizer"), modules.module("prior")
    drawn, began = 0, time.monotonic()
    for index in missing:
        batch = shards.batches[index]
        classes = torch.from_numpy(labels[batch.start : batch.stop]).to(device)
        generator = torch.Generator().manual_seed(derive(task.seed, task.samples.seed, "sample", index))
        try:
            images = sampler.sample(tokenizer, prior, classes, generator)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"no memory left on {device} for {len(batch)} samples at once "
                f"(samples.batch_size: {max(1, task.samples.batch_size // 2)})"
            ) from error
        shards.write(index, to_uint8(images, task.samples.quantisation))
        drawn += len(batch)
        done += 1
        progress.advance(done, images=len(batch))
    return drawn, time.monotonic() - began


def _labels(task: SampleTask) -> np.ndarray:
    """The classes (N,) to draw, in random order: consecutive samples are a mix of classes."""
    count, classes = task.samples.count, task.shapes.num_classes
    if task.system.prior is not None and not task.system.prior.takes_classes:
        return np.full(count, NULL_CLASS, np.int64)
    random = np.random.default_rng(derive(task.seed, task.samples.seed, "labels"))
    if task.samples.labels == "uniform":
        return random.integers(classes, size=count)
    each = np.repeat(np.arange(classes), count // classes)
    rest = random.permutation(classes)[: count % classes]
    return random.permutation(np.concatenate([each, rest]))


def _describe(part: dict[str, Any] | None) -> str:
    if part is None:
        return "none"
    return ", ".join([part["kind"], *(f"{name} {value}" for name, value in part.items() if name != "kind")])
