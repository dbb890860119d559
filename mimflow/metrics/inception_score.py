"""The Inception score, in a module of its own: to import torch-fidelity takes seconds."""

from __future__ import annotations

from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spec import IsSpec
from mimflow.metrics.values import SEED, no_value, value_of, why_not


def inception_score(spec: IsSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """exp E KL(p(y|x) ‖ p(y)), mean and spread over splits (Salimans et al. 2016, section 4).

    Samples are permuted first: sorted by class, each split would hold few classes, and that caps the score.
    """
    logits = context.sample_features[context.extractor.logits]
    reason = why_not(logits, "samples", spec.splits)
    if reason is not None:
        return no_value("is", reason=reason)
    result = isc_features_to_metric(logits, spec.splits, shuffle=True, rng_seed=SEED)
    return {"is": value_of(result[KEY_METRIC_ISC_MEAN], result[KEY_METRIC_ISC_STD])}
