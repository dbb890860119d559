"""What metrics of features share: why there is no value, and what a result of a library's becomes."""

from __future__ import annotations

import math

from torch import Tensor

from mimflow.artifacts.metrics import MetricValue

SEED = 2020
"""Of the Inception score's shuffle and KID's subsets: torch-fidelity's default."""


def too_few(count: int, what: str, least: int) -> str | None:
    """Why so many images can't be measured where at least `least` are needed, or None if they can."""
    return f"{count} {what}, at least {least} needed" if count < least else None


def why_not(features: Tensor, what: str, least: int) -> str | None:
    """Why `features` (N, F) of so many images can't be measured, or None if they can."""
    broken = int((~features.isfinite().all(1)).sum())
    if broken:
        return f"features of {broken} of {len(features)} {what} are not finite"
    return too_few(len(features), what, least)


def no_value(*names: str, reason: str) -> dict[str, MetricValue]:
    """The numbers of these names, each with the reason why there is none."""
    return {name: MetricValue(None, reason=reason) for name in names}


def value_of(value: float, std: float | None = None) -> MetricValue:
    """A result, which can overflow even where the features did not."""
    if not math.isfinite(value):
        return MetricValue(None, reason=f"the result is {value}")
    return MetricValue(value, std)
