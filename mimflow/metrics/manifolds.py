"""Precision and recall, density and coverage: balls around images, in features."""

from __future__ import annotations

from torch import Tensor

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.neighbours import balls_held, within_balls
from mimflow.metrics.spec import DensityCoverageSpec, PrecisionRecallSpec
from mimflow.metrics.values import no_value, value_of, why_not


def precision_recall(spec: PrecisionRecallSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Share of samples within a reference image's ball, and the reverse (Kynkäänniemi et al. 2019, Eq. 1–3).

    A ball reaches to the image's `neighbourhood`-th nearest neighbour other than itself. Both numbers depend
    on how many samples and reference images there are, and not in the same way. In float64, where the ADM evaluator
    computes in half precision.
    """
    samples, reference, reason = _features(context, spec.neighbourhood + 1, spec.neighbourhood + 1)
    if reason is not None:
        return no_value(*spec.reports, reason=reason)
    sample_within, reference_within = within_balls(samples, reference, spec.neighbourhood, context.device)
    return {
        "precision": value_of(sample_within.double().mean().item()),
        "recall": value_of(reference_within.double().mean().item()),
    }


def density_coverage(spec: DensityCoverageSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Σ over samples of the reference's balls that hold them / (k N), and the share of balls that hold one.

    Naeem et al. 2020, section 3, with k the neighbourhood and N samples; balls do not hold their border, as in the
    published code.
    """
    samples, reference, reason = _features(context, 1, spec.neighbourhood + 1)
    if reason is not None:
        return no_value(*spec.reports, reason=reason)
    counts, holding = balls_held(samples, reference, spec.neighbourhood, context.device)
    return {
        "density": value_of(counts.double().mean().item() / spec.neighbourhood),
        "coverage": value_of(holding.double().mean().item()),
    }


def _features(context: ImageComparison, least: int, least_reference: int) -> tuple[Tensor, Tensor, str | None]:
    """Features of samples (N, F) and of the reference (M, F), and why they can't be measured if they can't."""
    layer = context.extractor.features
    samples, reference = context.sample_features[layer], context.reference_features[layer]
    reason = why_not(samples, "samples", least) or why_not(reference, "reference images", least_reference)
    return samples, reference, reason
