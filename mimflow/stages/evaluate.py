"""The evaluate stage: metrics of what a output gave."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_fidelity

from mimflow.artifacts.manifest import Artifact, canonical, write_text
from mimflow.artifacts.samples import FEATURES, SAMPLES, read_features, read_samples
from mimflow.compute.devices import resolve
from mimflow.data.prepared import Prepared
from mimflow.errors import ArtifactError, SpecError
from mimflow.features.registry import EXTRACTORS
from mimflow.metrics.context import Context, FeatureSplit, Measurement, Representation
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import Reference
from mimflow.plan import paths
from mimflow.progress import Progress
from mimflow.seeds import derive
from mimflow.system.spec import Shapes
from mimflow.tasks import EvaluateTask


def run(task: EvaluateTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> dict[str, Any]:
    """Measure what a output gave by every metric of the task; the result is `metrics.json`.

    A metric that has no value says why and does not stop the others. Raises ArtifactError for samples or
    reference images that are not of the task's shape, and SpecError for a reference larger than its split.
    """
    torch.set_num_threads(task.compute.threads)
    device = resolve(task.compute.device)
    context: Context | Representation
    if task.reference is None:
        context, count, facts = _representation(task, inputs, device)
    else:
        context, count, facts = _images(task, task.reference, inputs, device)

    measured: dict[str, Measurement] = {}
    progress.start(len(task.metrics), unit="metric")
    for index, metric in enumerate(task.metrics):
        measured |= METRICS.build(metric, context)
        progress.advance(index + 1)
    for kind, measurement in measured.items():
        if measurement.value is None:
            progress.say(f"{kind}: no value: {measurement.reason}")

    metrics = {kind: asdict(measurement) for kind, measurement in measured.items()}
    text = json.dumps({**metrics, "count": count}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(work / "out" / "metrics.json", text + "\n")
    return {"count": count, **facts}


def _images(
    task: EvaluateTask, reference: Reference, inputs: dict[str, Artifact], device: torch.device
) -> tuple[Context, int, dict[str, Any]]:
    """Samples or reconstructions, what they are compared with, their number, and facts about it all."""
    samples, labels = read_samples(inputs["samples"].file(SAMPLES))
    compared = _reference(inputs["data"], reference)
    _check_shape(samples, inputs["samples"], "samples", task.shapes)
    _check_shape(compared, inputs["data"], "reference images", task.shapes)
    assert task.extractor is not None
    extractor = EXTRACTORS.build(task.extractor, task.shapes, inputs.get("extractor"), task.extractor_system)
    name = _reference_name(inputs["data"], reference, len(compared), device)
    cache = paths.cache(Path()) / "torch-fidelity"
    facts = {
        **extractor.facts,
        "reference_split": reference.split,
        "reference_count": len(compared),
        "torch_fidelity": torch_fidelity.__version__,
    }
    return Context(samples, labels, compared, name, extractor, cache, device), len(samples), facts


def _representation(
    task: EvaluateTask, inputs: dict[str, Artifact], device: torch.device
) -> tuple[Representation, int, dict[str, Any]]:
    """Features of both splits, the number of those that are measured, and facts about them."""
    path = inputs["samples"].file(FEATURES)
    train, val = (FeatureSplit(*map(torch.from_numpy, read_features(path, split))) for split in ("train", "val"))
    facts = {"train_count": len(train.labels), "features": train.features.shape[1]}
    return Representation(train, val, task.shapes.num_classes, device), len(val.labels), facts


def _reference(data: Artifact, reference: Reference) -> np.ndarray:
    """The images (M, H, W, C) uint8 to compare with: all of the split, or the first of a permutation."""
    images = Prepared.open(data).split(reference.split).images
    if reference.count is None:
        return images
    if reference.count > len(images):
        raise SpecError(
            f"reference.count: {reference.count} images, split '{reference.split}' of {data.manifest.name} "
            f"has {len(images)} (leave it out to take them all)"
        )
    random = np.random.default_rng(derive("reference", reference.split))
    return images[random.permutation(len(images))[: reference.count]]


def _reference_name(data: Artifact, reference: Reference, count: int, device: torch.device) -> str:
    """A hash of the reference's pixels, and of what decides how they are rounded on the way to features."""
    pixels = data.manifest.files[f"{reference.split}.images.npy"].sha256
    content = [pixels, reference.split, count, device.type, torch.__version__]
    return f"reference-{hashlib.sha256(canonical(content).encode()).hexdigest()[:16]}"


def _check_shape(images: np.ndarray, artifact: Artifact, what: str, shapes: Shapes) -> None:
    wanted = (shapes.size, shapes.size, shapes.channels)
    if images.shape[1:] != wanted or images.dtype != np.uint8:
        raise ArtifactError(
            f"{artifact.folder}: {what} are {images.dtype} {'×'.join(map(str, images.shape[1:]))}, "
            f"the protocol's are uint8 {'×'.join(map(str, wanted))} (height × width × channels)"
        )
