"""Images as metrics are given them: beside what they are compared with, and with an extractor to look through."""

from __future__ import annotations

import hashlib

import numpy as np
import torch_fidelity

from mimflow.artifacts.data import images_file
from mimflow.artifacts.manifest import Artifact, canonical
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import read_samples
from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.data.prepared import Prepared
from mimflow.errors import ArtifactError, SpecError
from mimflow.features.registry import EXTRACTORS
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spec import Reference
from mimflow.seeds import derive
from mimflow.system.spec import Shapes


def open_images(content: Content, evaluation: Evaluation) -> Opened:
    """Samples or reconstructions, what they are compared with, and facts about it all.

    Raises ArtifactError for images that are not of the evaluation's shapes, and SpecError for a reference larger
    than its split.
    """
    data, reference, shapes = evaluation.data, evaluation.reference, evaluation.shapes
    assert data is not None and reference is not None and evaluation.extractor is not None
    images, labels = read_samples(evaluation.output.file(content.file))
    compared = _reference(data, reference)
    _check_shape(images, evaluation.output, content.name, shapes)
    _check_shape(compared, data, "reference images", shapes)
    extractor = EXTRACTORS.build(
        evaluation.extractor, shapes, evaluation.extractor_weights, evaluation.extractor_system
    )
    name = _reference_name(data, reference, len(compared), evaluation)
    facts = EvaluateFacts(
        len(images),
        **extractor.facts,
        reference_split=reference.split,
        reference_count=len(compared),
        torch_fidelity=torch_fidelity.__version__,
    )
    mirrored = _mirrored(reference, len(compared)) if reference.mirror else None
    given = ImageComparison(
        images, labels, compared, name, extractor, evaluation.cache, evaluation.device, evaluation.say, mirrored
    )
    return Opened(given, facts)


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


def _mirrored(reference: Reference, count: int) -> np.ndarray:
    """(count,) bool, by a coin for each image."""
    coins: np.ndarray = np.random.default_rng(derive("mirror", reference.split)).random(count) < 0.5
    return coins


def _reference_name(data: Artifact, reference: Reference, count: int, evaluation: Evaluation) -> str:
    """A hash of the reference's pixels, and of what decides how they are rounded on the way to features."""
    pixels = data.manifest.files[images_file(reference.split)].sha256
    content = [pixels, reference.split, count, reference.mirror, evaluation.device.type, evaluation.made_by]
    return f"reference-{hashlib.sha256(canonical(content).encode()).hexdigest()[:16]}"


def _check_shape(images: np.ndarray, artifact: Artifact, what: str, shapes: Shapes) -> None:
    wanted = (shapes.size, shapes.size, shapes.channels)
    if images.shape[1:] != wanted or images.dtype != np.uint8:
        raise ArtifactError(
            f"{artifact.folder}: {what} are {images.dtype} {'×'.join(map(str, images.shape[1:]))}, "
            f"the protocol's are uint8 {'×'.join(map(str, wanted))} (height × width × channels)"
        )
