"""The learning rate over a phase, as a pure function of the step."""

from __future__ import annotations

import math

from mimflow.training.spec import Schedule


def warmup_steps(schedule: Schedule, steps_per_epoch: int) -> int:
    """Steps of warm-up, whichever way they are given."""
    return schedule.warmup_steps or round(schedule.warmup_epochs * steps_per_epoch)


def learning_rate_factor(schedule: Schedule, step: int, total: int, warmup: int) -> float:
    """The factor of the learning rate that step `step` of `total`, counted from 0, is taken with.

    The warm-up's last step is the first at the full rate, so that step 0 moves even from `initial: 0`; the decay
    reaches `final` where the step after the last would be, so that the last step moves even to `final: 0`.
    """
    if step < warmup:
        return schedule.initial + (1 - schedule.initial) * (step + 1) / warmup
    begin = max(warmup, schedule.hold * total)
    if schedule.decay == "constant" or step < begin:
        return 1.0
    progress = (step - begin) / (total - begin)
    left = 1 - progress if schedule.decay == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return schedule.final + (1 - schedule.final) * left
