"""FID and sFID, on features that are extracted once."""

from __future__ import annotations

import numpy as np

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison, moments
from mimflow.metrics.frechet import frechet_distance
from mimflow.metrics.spec import FidSpec, SfidSpec
from mimflow.metrics.values import no_value, too_few, value_of, why_not


def fid(spec: FidSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) (Heusel et al. 2017, Eq. 6), with unbiased covariances."""
    return {"fid": _frechet_distance(context, context.extractor.features)}


def sfid(spec: SfidSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """The FID's |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of flattened spatial features (Nash et al. 2021)."""
    if context.extractor.spatial is None:
        return no_value("sfid", reason="the extractor gives no spatial features")
    return {"sfid": _frechet_distance(context, context.extractor.spatial)}


def _frechet_distance(context: ImageComparison, layer: str) -> MetricValue:
    features = context.sample_features[layer]
    known, reference = context.known, context.reference_moments(layer)
    assert known is not None, "the plan asked for it"
    reason = why_not(features, "samples", 2)
    if reason is None and known.count is not None:
        reason = too_few(known.count, "reference images", 2)
    if reason is None and reference is None:
        reason = "the reference gives no statistics of such features"
    if reason is not None or reference is None:
        return MetricValue(None, reason=reason)
    samples = moments(features)
    if not np.isfinite(reference.sigma).all():
        return MetricValue(None, reason="features of the reference images are not finite")
    try:
        return value_of(frechet_distance(samples.mu, samples.sigma, reference.mu, reference.sigma))
    except (np.linalg.LinAlgError, ValueError) as error:
        return MetricValue(None, reason=f"the covariances' product has no eigenvalues: {error}")
