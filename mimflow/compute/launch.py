"""Which of a job's processes this one is: as torchrun says it, or whatever else sets the same variables."""

from __future__ import annotations

import os
from typing import NamedTuple

RANK, WORLD_SIZE = "RANK", "WORLD_SIZE"


class Place(NamedTuple):
    """A process among those of its job."""

    rank: int
    """From 0."""
    size: int
    """How many there are, on all machines."""


def launched() -> bool:
    """Whether a launcher has started this process as one of a job's."""
    return WORLD_SIZE in os.environ and RANK in os.environ


def place() -> Place:
    """This process's place; the only one where no launcher says otherwise."""
    return Place(int(os.environ[RANK]), int(os.environ[WORLD_SIZE])) if launched() else Place(0, 1)
