"""The reference stage: what an extractor makes of the images that others are compared with, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.reference import FEATURES, ORDER, STATISTICS, ReferenceFacts, write_features, write_statistics
from mimflow.compute.devices import resolve
from mimflow.errors import ArtifactError
from mimflow.features.extractors import Extractor
from mimflow.features.registry import EXTRACTORS
from mimflow.metrics.context import batches_of_features, content_order
from mimflow.metrics.images import ArrayImages, Images
from mimflow.metrics.moments import Moments
from mimflow.metrics.reference.registry import REFERENCES
from mimflow.metrics.reference.sources import GivenStatistics
from mimflow.progress import Progress
from mimflow.tasks import ReferenceTask

OUT_OF_MEMORY = "compute.device: cpu"
"""What to change where memory runs out."""


def run(task: ReferenceTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> ReferenceFacts:
    """Write the statistics of a reference, and its features where the task asks for them, below `work/out`.

    Only a batch of images is in memory at a time. Inputs: `data` of a split; `extractor` where a run trained it.
    Raises SpecError for a reference larger than its split, and ArtifactError for files that are missing or hold
    something else.
    """
    torch.set_num_threads(task.compute.threads)
    device = resolve(task.compute.device)
    extractor = EXTRACTORS.build(task.extractor, task.shapes, inputs.get("extractor"), task.extractor_system)
    source: Images | GivenStatistics = REFERENCES.build(task.reference, inputs.get("data"), task.shapes)
    out = work / "out"
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(source, GivenStatistics):
        _check_widths(source, extractor, task, device)
        write_statistics(out / STATISTICS, source.pooled, source.spatial)
        return ReferenceFacts(extractor.name, device=device.type)
    pooled, spatial = _Streamed(), _Streamed()
    digests: list[bytes] = []
    progress.start(len(source), unit="image")

    def pieces() -> Iterator[np.ndarray]:
        done = 0
        for batch in batches_of_features(extractor, source, device, digests):
            features = batch[extractor.features].float().numpy()
            pooled.add(features)
            if extractor.spatial is not None:
                spatial.add(batch[extractor.spatial].numpy())
            done += len(features)
            progress.advance(done, images=len(features))
            yield features

    if task.features:
        write_features(out / FEATURES, pieces(), len(source))
        np.save(out / ORDER, content_order(digests).numpy())
    else:
        for _ in pieces():
            pass
    write_statistics(out / STATISTICS, pooled.moments, spatial.moments)
    return ReferenceFacts(extractor.name, len(source), device.type)


class _Streamed:
    """Moments of features whose width the first batch tells."""

    def __init__(self) -> None:
        self.moments: Moments | None = None

    def add(self, features: np.ndarray) -> None:
        if self.moments is None:
            self.moments = Moments(features.shape[1])
        self.moments.add(features)


def _check_widths(source: GivenStatistics, extractor: Extractor, task: ReferenceTask, device: torch.device) -> None:
    """ArtifactError for statistics of so many features as the extractor does not give: another one made them."""
    shapes = task.shapes
    blank = ArrayImages(np.zeros((1, shapes.size, shapes.size, shapes.channels), np.uint8))
    (found,) = batches_of_features(extractor, blank, device, [])
    for name, given, layer in (("mu", source.pooled, extractor.features), ("mu_s", source.spatial, extractor.spatial)):
        if given is not None and layer is not None and given.mu.size != found[layer].shape[1]:
            raise ArtifactError(
                f"{task.reference.words}: {name} is of {given.mu.size} features, the protocol's extractor gives "
                f"{found[layer].shape[1]} (name the extractor that it was made with)"
            )
