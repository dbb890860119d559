"""The loss on images that training does not see."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from mimflow.compute.devices import autocast
from mimflow.nn.modes import evaluating
from mimflow.objectives.base import Objective
from mimflow.seeds import derive
from mimflow.training.batches import InOrder


def validate(
    objective: Objective,
    batches: InOrder,
    player: str,
    seed: int,
    precision: str,
    before_batch: Callable[[], None] = lambda: None,
) -> dict[str, float | None]:
    """Mean over the split of a player's loss and of the figures that it logs; None for one that is not finite.

    In evaluation mode, and with the same noise for the same batch every time. `before_batch` may raise.
    """
    sums: dict[str, float] = {}
    count = 0
    with evaluating(objective):
        for index, batch in enumerate(batches):
            before_batch()
            torch.manual_seed(derive(seed, "validation", index))
            with autocast(batches.device, precision):
                loss, figures = objective(player, batch, {})
            size = len(batch.labels)
            count += size
            for name, value in {"loss": loss, **figures}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * size
    return {name: total / count if math.isfinite(total) else None for name, total in sums.items()}
