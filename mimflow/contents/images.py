"""Images as metrics are given them: beside what they are compared with, and with an extractor to look through."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import torch

from mimflow.artifacts.archives import map_rows
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.reference import FEATURES, ReferenceFacts, read_features, read_statistics
from mimflow.artifacts.samples import read_labels
from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.contents.given import open_given
from mimflow.data.prepared import Prepared
from mimflow.features.registry import EXTRACTORS
from mimflow.metrics.context import ImageComparison, KnownReference
from mimflow.metrics.images import Images
from mimflow.metrics.reference.sources import check_shape
from mimflow.metrics.reference.spec import SplitReferenceSpec


def open_images(content: Content, evaluation: Evaluation) -> Opened:
    """Samples or reconstructions, what they are compared with, and facts about it all.

    Raises ArtifactError for images that are not of the evaluation's shapes.
    """
    shapes, reference = evaluation.shapes, evaluation.reference
    assert evaluation.extractor is not None
    images, labels = _images(content, evaluation)
    originals = None
    if evaluation.data is not None:
        assert isinstance(reference, SplitReferenceSpec), "originals are a split's images"
        originals = Prepared.open(evaluation.data).split(reference.split).images
        check_shape(originals, evaluation.data, "the originals", shapes)
    extractor = EXTRACTORS.build(
        evaluation.extractor, shapes, evaluation.extractor_weights, evaluation.extractor_system
    )
    known = _known(evaluation.compared) if evaluation.compared is not None else None
    speed = _speed(evaluation.output)
    given = ImageComparison(images, labels, extractor, evaluation.device, known, originals, speed)
    count = known.count if known is not None else None if originals is None else len(originals)
    facts = EvaluateFacts(
        len(images),
        **extractor.facts,
        reference_split=reference.split if isinstance(reference, SplitReferenceSpec) else None,
        reference_count=count,
        own_reference_counts={
            metric: read_facts(artifact, ReferenceFacts).count for metric, artifact in evaluation.compared_by.items()
        },
        torch_fidelity=version("torch-fidelity"),
    )
    own = {metric: given.against(_known(artifact)) for metric, artifact in evaluation.compared_by.items()}
    return Opened(given, facts, own)


def _images(content: Content, evaluation: Evaluation) -> tuple[np.ndarray | Images, np.ndarray]:
    """The images and their classes: those of an output, mapped from its file, or those that were made elsewhere."""
    if evaluation.output is None:
        assert evaluation.given is not None and evaluation.asked is not None
        return open_given(evaluation.given, evaluation.shapes, evaluation.asked)
    path = evaluation.output.file(content.file)
    images = map_rows(path, "arr_0")
    check_shape(images, evaluation.output, content.name, evaluation.shapes)
    return images, read_labels(path)


def _speed(output: Artifact | None) -> float | None:
    """Images a second; None where nobody timed it."""
    found = output.manifest.facts.get("images_per_second") if output is not None else None
    return found if isinstance(found, float) else None


def _known(artifact: Artifact) -> KnownReference:
    """What a reference's artifact holds, verified."""
    pooled, spatial = read_statistics(artifact)
    features = None
    if FEATURES in artifact.manifest.files:
        features = torch.from_numpy(read_features(artifact))
    return KnownReference(read_facts(artifact, ReferenceFacts).count, pooled, spatial, features)
