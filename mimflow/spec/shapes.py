"""The shapes that specs reason about without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageShape:
    """A square image: `channels` planes of `size` × `size` pixels."""

    channels: int
    size: int

    @property
    def dimensions(self) -> int:
        return self.channels * self.size * self.size


@dataclass(frozen=True)
class LatentShape:
    """What a tokenizer hands to a prior: `tokens` vectors of `channels`, raster order over `grid` if they have one."""

    tokens: int
    channels: int
    grid: tuple[int, int] | None = None

    @property
    def dimensions(self) -> int:
        return self.tokens * self.channels
