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

    def grouped(self, side: int) -> LatentShape:
        """The same latents with squares of `side` × `side` tokens taken as one; only `side` 1 without a grid."""
        if side == 1:
            return self
        assert self.grid is not None
        rows, columns = self.grid
        return LatentShape(self.tokens // side**2, self.channels * side**2, (rows // side, columns // side))
