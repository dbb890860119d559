"""Whether images are of the class that they were drawn for, or that their originals have."""

from __future__ import annotations

import torch

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spec import ClassAccuracySpec


def class_accuracy(spec: ClassAccuracySpec, context: ImageComparison) -> dict[str, MetricValue]:
    """The share of samples whose largest logit is that of their label."""
    return {"class_accuracy": _accuracy(context)}


def _accuracy(context: ImageComparison) -> MetricValue:
    if not context.extractor.classifies:
        return MetricValue(None, reason="the extractor does not know the data's classes")
    if (context.labels < 0).any():
        return MetricValue(None, reason="the samples were drawn without a class")
    logits = context.sample_features[context.extractor.logits]
    broken = int((~logits.isfinite().all(1)).sum())
    if broken:
        return MetricValue(None, reason=f"logits of {broken} of {len(logits)} samples are not finite")
    right = logits.argmax(1) == torch.from_numpy(context.labels)[context.sample_order]
    return MetricValue(right.double().mean().item())
