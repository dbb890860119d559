"""How fast samples were drawn."""

from __future__ import annotations

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.context import ImageComparison
from mimflow.metrics.spec import SamplingSpeedSpec


def sampling_speed(spec: SamplingSpeedSpec, context: ImageComparison) -> dict[str, MetricValue]:
    """Samples a second, as they were timed when they were drawn."""
    if context.images_per_second is None:
        return {"images_per_second": MetricValue(None, reason="the attempt that ended drew none of the samples")}
    return {"images_per_second": MetricValue(context.images_per_second)}
