"""Shards: several jobs that share the pieces of arrays out between them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimflow.errors import PlanError


@dataclass(frozen=True)
class Shard:
    """One of `count` jobs. Together they take every piece, each once, whatever their number."""

    place: int
    """Which it is, counted from 1."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/8`. PlanError for what is no shard."""
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if found is None or int(found[1]) > int(found[2]):
            raise PlanError(f"--shard: got '{text}', wanted one of so many: 1/8, 2/8, … 8/8")
        return cls(int(found[1]), int(found[2]))

    def takes(self, index: int) -> bool:
        """Whether the piece of this number, counted from 0, is its own."""
        return index % self.count == self.place - 1

    def __str__(self) -> str:
        return f"{self.place}/{self.count}"

    @property
    def slug(self) -> str:
        """What files of its own are named by."""
        return f"{self.place}-of-{self.count}"


WHOLE = Shard(1, 1)
"""One job for all pieces."""
