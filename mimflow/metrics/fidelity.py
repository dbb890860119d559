"""FID, Inception score, KID, precision and recall: torch-fidelity's, on features that are extracted once."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.moments import Moments
from mimflow.metrics.spec import FidSpec, IsSpec, KidSpec, PrecisionRecallSpec

MOMENTS_ROWS = 4096
"""Features that are in memory in float64 at once."""
SEED = 2020
"""Of the Inception score's shuffle and KID's subsets: torch-fidelity's default."""


def fid(spec: FidSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) (Heusel et al. 2017, Eq. 6), with unbiased covariances."""
    features = context.sample_features[context.extractor.features]
    known = context.known
    assert known is not None, "the plan asked for it"
    reason = _why_not(features, "samples", 2)
    if reason is None and known.count is not None:
        reason = _too_few(known.count, "reference images", 2)
    if reason is not None:
        return _none("fid", reason=reason)
    reference = context.reference_moments(context.extractor.features)
    if reference is None or not np.isfinite(reference.sigma).all():
        return _none("fid", reason="features of the reference images are not finite")
    samples = Moments(features.shape[1])
    for rows in features.split(MOMENTS_ROWS):
        samples.add(rows)
    try:
        result = fid_statistics_to_metric(
            {"mu": samples.mu, "sigma": samples.sigma}, {"mu": reference.mu, "sigma": reference.sigma}, verbose=False
        )
    except np.linalg.LinAlgError as error:
        return _none("fid", reason=f"the covariances' product has no eigenvalues: {error}")
    return {"fid": _value(result[KEY_METRIC_FID])}


def inception_score(spec: IsSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """exp E KL(p(y|x) ‖ p(y)), mean and spread over splits (Salimans et al. 2016, section 4).

    Samples are permuted first: sorted by class, each split would hold few classes, and that caps the score.
    """
    logits = context.sample_features[context.extractor.logits]
    reason = _why_not(logits, "samples", spec.splits)
    if reason is not None:
        return _none("is", reason=reason)
    result = isc_features_to_metric(logits, spec.splits, shuffle=True, rng_seed=SEED)
    return {"is": _value(result[KEY_METRIC_ISC_MEAN], result[KEY_METRIC_ISC_STD])}


def kid(spec: KidSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Unbiased squared MMD with the kernel (xᵀy / d + 1)³ over d features (Bińkowski et al. 2018).

    Mean and spread over random subsets. Slightly negative values are what an unbiased estimate of zero looks
    like.
    """
    samples, reference = _features(context)
    least = max(spec.subset_size, 2)
    reason = _why_not(samples, "samples", least) or _why_not(reference, "reference images", least)
    if reason is None and spec.subset_size < 2:
        reason = "subsets of one image have no unbiased estimate"
    if reason is not None:
        return _none("kid", reason=reason)
    result = kid_features_to_metric(
        samples,
        reference,
        kid_subsets=spec.subsets,
        kid_subset_size=spec.subset_size,
        rng_seed=SEED,
        verbose=False,
    )
    return {"kid": _value(result[KEY_METRIC_KID_MEAN], result[KEY_METRIC_KID_STD])}


def precision_recall(spec: PrecisionRecallSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Share of samples within a reference image's ball, and the reverse (Kynkäänniemi et al. 2019, Eq. 1–3).

    A ball reaches to the image's `neighbourhood`-th nearest neighbour other than itself. Both numbers depend
    on how many samples and reference images there are, and not in the same way.
    """
    samples, reference = _features(context)
    least = spec.neighbourhood + 1
    reason = _why_not(samples, "samples", least) or _why_not(reference, "reference images", least)
    if reason is not None:
        return _none("precision", "recall", reason=reason)
    result = prc_features_to_metric(
        samples, reference, prc_neighborhood=spec.neighbourhood, save_cpu_ram=True, verbose=False
    )
    return {
        "precision": _value(result[KEY_METRIC_PRECISION]),
        "recall": _value(result[KEY_METRIC_RECALL]),
    }


def _features(context: ImageComparison) -> tuple[Tensor, Tensor]:
    layer = context.extractor.features
    return context.sample_features[layer], context.reference_features[layer]


def _too_few(count: int, what: str, least: int) -> str | None:
    return f"{count} {what}, at least {least} needed" if count < least else None


def _why_not(features: Tensor, what: str, least: int) -> str | None:
    """Why `features` (N, F) of so many images can't be measured, or None if they can."""
    broken = int((~features.isfinite().all(1)).sum())
    if broken:
        return f"features of {broken} of {len(features)} {what} are not finite"
    return _too_few(len(features), what, least)


def _none(*names: str, reason: str) -> dict[str, MetricValue]:
    return {name: MetricValue(None, reason=reason) for name in names}


def _value(value: float, std: float | None = None) -> MetricValue:
    """A result of torch-fidelity's, which can overflow even where the features did not."""
    if not math.isfinite(value):
        return MetricValue(None, reason=f"the result is {value}")
    return MetricValue(value, std)
