"""What the processes of one job tell each other: sums of tensors, what all of them are asked, what the first has found.

The engine is `torch.distributed`: gloo between CPUs, NCCL between GPUs. Every method is to be called by all processes,
in the same order; a job of one process talks to nobody.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from mimflow.compute.launch import place
from mimflow.errors import MimflowError, PeerLostError

LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What is in the texts of bare RuntimeErrors of collectives whose other end is gone."""


class World:
    """The processes that share a job out: this one is number `rank` of `size`."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank = rank
        self.size = size

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Meet the other processes of this job; they talk through `device`, and about plain data through the CPU."""
        rank, size = place()
        if size > 1 and not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
            atexit.register(dist.destroy_process_group)
        return cls(rank, size)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks to people."""
        return self.rank == 0

    def own(self, count: int) -> range:
        """Which of so many pieces of work are this process's."""
        return range(self.rank, count, self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all processes' tensors, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def most(self, *numbers: int) -> list[int]:
        """The largest that any process says, of each number. The device is not waited for."""
        if self.size == 1:
            return list(numbers)
        said = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return [int(number) for number in said]

    def of_first(self, value: Any) -> Any:
        """What the first process says, plain data."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, 0, device=torch.device("cpu"))
        return said[0]

    def of_all(self, value: Any) -> list[Any]:
        """What all processes say, plain data, in their order."""
        if self.size == 1:
            return [value]
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, value)
        return said

    def wait(self) -> None:
        """Until all processes are here."""
        self.most(0)

    def end(self, error: MimflowError) -> NoReturn:
        """Raise an error that every process has found alike; the first alone says it."""
        if self.first:
            raise error
        raise SystemExit(error.exit_code)


ONE_PROCESS = World()
"""Of a job that nobody shares."""


@contextmanager
def peer_errors(world: World) -> Iterator[None]:
    """Turn what collectives raise when another process is gone into PeerLostError."""
    try:
        yield
    except RuntimeError as error:
        if world.size == 1 or not (isinstance(error, dist.DistError) or any(text in str(error) for text in LOST)):
            raise
        raise PeerLostError("another process of the job has ended: its own message says why") from error
