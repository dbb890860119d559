"""Maximum mean discrepancies between features: KID's cubic kernel and CMMD's Gaussian one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spec import CmmdSpec, KidSpec
from mimflow.metrics.values import SEED, no_value, value_of, why_not

BLOCK = 2048
"""Images on either side of a block of kernel values: 32 MiB."""
CMMD_SCALE = 1000
"""What the published code multiplies the squared distance by."""


def kid(spec: KidSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Unbiased squared MMD with the kernel (xᵀy / d + 1)³ over d features (Bińkowski et al. 2018).

    Mean and spread over random subsets. Slightly negative values are what an unbiased estimate of zero looks
    like.
    """
    samples, reference = _features(context)
    least = max(spec.subset_size, 2)
    reason = why_not(samples, "samples", least) or why_not(reference, "reference images", least)
    if reason is None and spec.subset_size < 2:
        reason = "subsets of one image have no unbiased estimate"
    if reason is not None:
        return no_value("kid", reason=reason)
    result = kid_features_to_metric(
        samples,
        reference,
        kid_subsets=spec.subsets,
        kid_subset_size=spec.subset_size,
        rng_seed=SEED,
        verbose=False,
    )
    return {"kid": value_of(result[KEY_METRIC_KID_MEAN], result[KEY_METRIC_KID_STD])}


def cmmd(spec: CmmdSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """1000 (mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y)), k = exp(−|x − y|² / 2σ²), of features of unit length.

    The means are over all pairs, an image with itself included: what the published code of Jayasumana et al. 2024
    computes. Never negative, and 0 for a set with itself.
    """
    samples, reference = _features(context)
    reason = why_not(samples, "samples", 1) or why_not(reference, "reference images", 1)
    if reason is not None:
        return no_value("cmmd", reason=reason)
    pairs = ((samples, samples), (reference, reference), (samples, reference))
    within, within_reference, between = (_mean_kernel(*pair, spec.sigma, context.device) for pair in pairs)
    return {"cmmd": value_of(max(CMMD_SCALE * (within + within_reference - 2 * between), 0.0))}


def _mean_kernel(first: Tensor, second: Tensor, sigma: float, device: torch.device) -> float:
    """The mean of exp(−|x − y|² / 2σ²) over all pairs of rows of (N, F) and (M, F), scaled to unit length; float64."""
    total = torch.zeros((), dtype=torch.float64, device=device)
    for left in first.split(BLOCK):
        x = F.normalize(left.to(device, torch.float64))
        for right in second.split(BLOCK):
            y = F.normalize(right.to(device, torch.float64))
            squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
            total += torch.exp(squared / (-2 * sigma**2)).sum()
    return total.item() / (len(first) * len(second))


def _features(context: ImageComparison) -> tuple[Tensor, Tensor]:
    layer = context.extractor.features
    return context.sample_features[layer], context.reference_features[layer]
