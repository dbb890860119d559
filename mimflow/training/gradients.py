"""Gradients of a player's turn, summed over all parts of the batch, whichever process computes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mimflow.compute.processes import World
from mimflow.objectives.base import Batch, Objective, Player
from mimflow.training.sharding import forward

Losses = Callable[[str, Batch, dict[str, Any]], tuple[Tensor, dict[str, Tensor]]]


def turn_to(player: Player | None, players: list[Player]) -> None:
    """Let this player's parameters take gradients, and no other's."""
    for other in players:
        for parameter in other.parameters.values():
            parameter.requires_grad_(other is player)


class Gradients:
    """How one process, or several that share its parts out, come to the gradients of every player's turn.

    Of several processes, each player's gradients are summed by a `DistributedDataParallel` of its own around the same
    objective. Each is built while its player's parameters alone take gradients, and used only in that player's turns:
    no reducer sees `requires_grad` other than it was built with. Of a sharded objective, each part's gradients are
    summed at once, a layer at a time, and each process keeps its shards.
    """

    def __init__(self, objective: Objective, players: list[Player], world: World, sharded: bool = False):
        self.objective = objective
        self.players = players
        self.world = world
        self.sharded = sharded
        self._reducers: dict[str, DistributedDataParallel] = {}
        if world.size > 1 and not sharded:
            # Of kernels of one channel, whose strides mean nothing.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            for player in players:
                turn_to(player, players)
                # Running statistics are RunningState's. Which parameters a loss uses may change from step to step.
                self._reducers[player.name] = DistributedDataParallel(
                    objective, forward_sync_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
                )
            turn_to(None, players)

    def share(self, parts: int) -> float:
        """What a part's loss is divided by, so that gradients are those of the mean over all parts."""
        # Both ways divide the sum over processes by their number.
        return parts / self.world.size

    @contextmanager
    def of_part(self, player: Player, last: bool) -> Iterator[Losses]:
        """What gives the loss of one of this process's parts; within it, the loss is taken backward too.

        Processes that have whole models talk to each other in the last part alone.
        """
        reducer = self._reducers.get(player.name)
        if reducer is None:
            yield partial(forward, self.objective) if self.sharded else self.objective
            return
        with nullcontext() if last else reducer.no_sync():
            yield reducer
