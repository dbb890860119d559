"""From paired numbers to a verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mimflow.project.claim import CONFIDENCE, Verdict

RULE = (
    f"The differences are paired over seeds; the interval is Student's, {CONFIDENCE:.0%}, in the direction of their "
    "mean. Supported: in the claimed direction it lies above 0, and the mean is at least the smallest effect that "
    "would matter. Contrary: in that direction it lies below that effect. Of numbers that are claimed to be the same, "
    "supported: it lies within that effect on either side of 0; contrary: it lies beyond it. Undecided otherwise, and "
    "always with fewer than two seeds."
)
MOST_SEEDS = 1_000
"""Seeds beyond which nothing is said of how many would decide."""


@dataclass(frozen=True)
class Finding:
    """What the differences of a comparison say; positive ones speak for the claim."""

    verdict: Verdict
    n: int
    mean: float | None = None
    interval: tuple[float, float] | None = None
    needed: int | None = None
    """Seeds that would decide if the mean and the spread stayed as they are; None where that is not known."""


def judge(differences: Sequence[float], smallest_effect: float) -> Finding:
    """The verdict on differences, one a seed, each positive where it speaks for the claim.

    Student's interval of their mean at `CONFIDENCE`: mean ± t(n − 1) s / √n.
    """
    n = len(differences)
    if n < 2:
        return Finding("undecided", n, differences[0] if differences else None)
    mean, spread, interval = _interval(differences)
    if interval[0] > 0 and mean >= smallest_effect:
        return Finding("supported", n, mean, interval)
    if interval[1] < smallest_effect or (smallest_effect == 0 and interval[1] < 0):
        return Finding("contrary", n, mean, interval)
    margin = mean if mean >= smallest_effect else smallest_effect - mean
    return Finding("undecided", n, mean, interval, _needed(margin, spread))


def judge_same(differences: Sequence[float], smallest_effect: float) -> Finding:
    """The verdict on differences, one a seed, that are claimed to be none that would matter: a test of equivalence
    (Schuirmann, 1987), by the same interval.
    """
    n = len(differences)
    if n < 2:
        return Finding("undecided", n, differences[0] if differences else None)
    mean, spread, interval = _interval(differences)
    if -smallest_effect <= interval[0] and interval[1] <= smallest_effect:
        return Finding("supported", n, mean, interval)
    if interval[0] > smallest_effect or interval[1] < -smallest_effect:
        return Finding("contrary", n, mean, interval)
    return Finding("undecided", n, mean, interval, _needed(abs(abs(mean) - smallest_effect), spread))


def _interval(differences: Sequence[float]) -> tuple[float, float, tuple[float, float]]:
    """Mean and standard deviation of at least two differences, and Student's interval of their mean."""
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    half = quantile(len(differences) - 1) * spread / math.sqrt(len(differences))
    return mean, spread, (mean - half, mean + half)


def _needed(margin: float, spread: float) -> int | None:
    """The least number of seeds with which half an interval of the same spread is below a margin; None if no number
    would do.
    """
    if margin <= 0:
        return None
    return next((n for n in range(3, MOST_SEEDS + 1) if quantile(n - 1) * spread / math.sqrt(n) < margin), None)


def quantile(degrees: int) -> float:
    """Student's t at (1 + `CONFIDENCE`) / 2 with so many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))
