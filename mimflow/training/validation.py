"""The loss on images that training does not see."""

from __future__ import annotations

import math
from collections.abc import Callable

from mimflow.compute.devices import autocast, seed_draws
from mimflow.compute.processes import ONE_PROCESS, World
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
    world: World = ONE_PROCESS,
) -> dict[str, float | None]:
    """Mean over the split of a player's loss and of the figures that it logs; None for one that is not finite.

    In evaluation mode, and with the same noise for the same batch every time. `before_batch` may raise. Processes share
    batches out and add up in their order; each goes through the same number of them, the last one again if need be.
    """
    found: list[tuple[int, int, dict[str, float]]] = []
    with evaluating(objective):
        for begin in range(0, len(batches), world.size):
            before_batch()
            index = min(begin + world.rank, len(batches) - 1)
            batch = batches.batch(index)
            seed_draws(derive(seed, "validation", index))
            with autocast(batches.device, precision):
                loss, figures = objective(player, batch, {})
            if index == begin + world.rank:
                size = len(batch.labels)
                values = {name: float(value) * size for name, value in {"loss": loss, **figures}.items()}
                found.append((index, size, values))
    every = sorted((one for of_process in world.of_all(found) for one in of_process), key=lambda one: one[0])
    sums: dict[str, float] = {}
    for _, _, values in every:
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
    count = sum(size for _, size, _ in every)
    return {name: total / count if math.isfinite(total) else None for name, total in sums.items()}
