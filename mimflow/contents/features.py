"""Features as metrics are given them: of both splits, with the images' classes."""

from __future__ import annotations

import torch

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.representation import read_representation
from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.metrics.context import FeatureSplit, RepresentedSplits


def open_features(content: Content, evaluation: Evaluation) -> Opened:
    """Features of both splits, the number of those that are measured, and facts about them."""
    assert evaluation.output is not None, "representations are made here"
    path = evaluation.output.file(content.file)
    train, val = (FeatureSplit(*map(torch.from_numpy, read_representation(path, split))) for split in ("train", "val"))
    facts = EvaluateFacts(len(val.labels), train_count=len(train.labels), features=train.features.shape[1])
    given = RepresentedSplits(train, val, evaluation.shapes.num_classes, evaluation.device)
    return Opened(given, facts)
