"""Timing two ways of doing the same thing, alternately, so that a busy machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Ratios(NamedTuple):
    """How many times faster the second way is."""

    minimum: float
    """By the shortest run of each."""
    median: float
    """By the median run of each."""
    slow: float
    """Median seconds of the first way."""
    fast: float
    """Median seconds of the second."""


def interleave(slow: Callable[[], object], fast: Callable[[], object], runs: int) -> Ratios:
    """Time `slow` and `fast` in turn, `runs` times each, after one run of each to warm up."""
    slow(), fast()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for way, taken in zip((slow, fast), times, strict=True):
            start = time.perf_counter()
            way()
            taken.append(time.perf_counter() - start)
    return ratios_of(*times)


def ratios_of(slow: list[float], fast: list[float]) -> Ratios:
    """Of the seconds that runs of the two ways took."""
    slow_median, fast_median = statistics.median(slow), statistics.median(fast)
    return Ratios(min(slow) / min(fast), slow_median / fast_median, slow_median, fast_median)
