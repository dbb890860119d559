"""Keys and values of the tokens that a transformer has already seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SEGMENT = 32
"""Tokens of a segment of a `SegmentedCache`: few enough that most segments are full or not begun, and enough of them
that a product's call costs little beside its arithmetic."""

Segments = Sequence[tuple[Tensor, Tensor]]
"""Of consecutive parts of a sequence: keys (B · heads, head_width, tokens), values (B · heads, tokens, head_width)."""


class CacheSize(NamedTuple):
    """What a cache has room for, in which precision and where."""

    layers: int
    batch: int
    heads: int
    tokens: int
    head_width: int
    dtype: torch.dtype
    device: torch.device

    def empty(self, tokens: int) -> Tensor:
        """Memory for so many tokens of a layer: (2, B · heads, tokens, head_width), keys and values."""
        shape = (2, self.batch * self.heads, tokens, self.head_width)
        return torch.empty(shape, dtype=self.dtype, device=self.device)


class StepCache(ABC):
    """The keys and values of one transformer's layers, in memory that is allocated once.

    A cache is for one pass over one sequence at a time, and handed to every step explicitly: modules keep no
    sampling state. Both branches of guidance share it as one batch. Batch and heads are one axis, as batched
    matrix products want them.
    """

    hidden: Tensor | None = None
    """What is added to the logits, so that tokens that are still to come are not attended to; None: nothing."""
    length = 0
    """Tokens that every layer has seen: the position of the next one."""

    def __init__(self, size: CacheSize):
        self._split = (size.batch, size.heads)
        # Views for each position, made once: a step would spend as much time on making as on using them.
        self._views: list[list[tuple[Tensor, Segments]]] = [[] for _ in range(size.layers)]

    @abstractmethod
    def view(self, layer: int, position: int) -> tuple[Tensor, Segments]:
        """Where a token's keys and values (2, B, heads, head_width) go, and what is then there up to it.

        IndexError past the last token.
        """

    def begin(self) -> None:
        """Go back to the first position, and forget what is stored."""
        self.length = 0

    def append(self, layer: int, keys_values: Tensor) -> Segments:
        """Store one token's keys and values (B, 2, heads, head_width) at the next position.

        Returns views of the layer's keys and values so far. IndexError past the last token.
        """
        views = self._views[layer]
        if self.length == len(views):
            views.append(self.view(layer, self.length))
        place, segments = views[self.length]
        place.copy_(keys_values.transpose(0, 1))
        return segments

    def here(self, table: Tensor) -> Tensor:
        """The row of a table (tokens, …) that is of the current position."""
        return table[self.length]

    def advance(self, tokens: int = 1) -> None:
        """Go on by so many positions, once every layer has stored their keys and values."""
        self.length += tokens

    def _cut(self, memory: Tensor, position: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The place of a position in memory (2, B · heads, tokens, head_width), and all up to it."""
        keys, values = memory[:, :, : position + 1].unbind(0)
        return memory.unflatten(1, self._split).select(3, position), (keys.transpose(1, 2), values)


class SegmentedCache(StepCache):
    """In segments, each a block of memory of its own, so that what has been seen lies without gaps.

    In one block for the whole sequence, what each head has seen is followed by room for what is still to come, and
    reading around that takes a processor longer.
    """

    def __init__(self, size: CacheSize):
        super().__init__(size)
        lengths = [min(SEGMENT, size.tokens - begin) for begin in range(0, size.tokens, SEGMENT)]
        self._segments = [[size.empty(length) for length in lengths] for _ in range(size.layers)]

    def view(self, layer: int, position: int) -> tuple[Tensor, Segments]:
        begun, place = divmod(position, SEGMENT)
        full = self._views[layer][begun * SEGMENT - 1][1] if begun else []
        spot, last = self._cut(self._segments[layer][begun], place)
        return spot, [*full, last]


class KeyValueCache(StepCache):
    """In one block of memory for each layer."""

    def __init__(self, size: CacheSize):
        super().__init__(size)
        self._layers = [size.empty(size.tokens) for _ in range(size.layers)]

    def view(self, layer: int, position: int) -> tuple[Tensor, Segments]:
        spot, whole = self._cut(self._layers[layer], position)
        return spot, [whole]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store several tokens' keys and values, (B, heads, T, head_width) each, from position `length` on.

        Returns views (B · heads, length + T, head_width).
        """
        end = self.length + keys.shape[2]
        stored = self._layers[layer].narrow(2, self.length, keys.shape[2])
        stored[0].copy_(keys.flatten(0, 1))
        stored[1].copy_(values.flatten(0, 1))
        keys, values = self._layers[layer][:, :, :end].unbind(0)
        return keys, values


class StaticCache(KeyValueCache):
    """The same with shapes that no position changes: what a CUDA graph, captured once, can be replayed with.

    The position is a tensor that steps themselves move on. The first `seen` tokens are attended to, those of them that
    are still to come with a weight of 0.
    """

    def __init__(self, size: CacheSize):
        super().__init__(size)
        tokens = self.seen = size.tokens
        self._position = torch.zeros(1, dtype=torch.long, device=size.device)
        self._hidden = torch.full((tokens, tokens), -torch.inf, dtype=size.dtype, device=size.device).triu(1)
        self._token = (2, size.batch, size.heads, 1, size.head_width)

    def begin(self) -> None:
        super().begin()
        self.go_to(0)
        for memory in self._layers:
            memory.zero_()  # 0 times what is not finite, as a sample before may have been, would not be 0

    @property
    def hidden(self) -> Tensor:  # type: ignore[override]
        return self.here(self._hidden)[: self.seen]

    def append(self, layer: int, keys_values: Tensor) -> Segments:
        """As of any cache; one segment, of what is `seen`."""
        memory = self._layers[layer]
        memory.index_copy_(2, self._position, keys_values.transpose(0, 1).reshape(self._token).flatten(1, 2))
        keys, values = memory[:, :, : self.seen].unbind(0)
        return [(keys.transpose(1, 2), values)]

    def here(self, table: Tensor) -> Tensor:
        return table.index_select(0, self._position)[0]

    def advance(self, tokens: int = 1) -> None:
        self._position += tokens

    def go_to(self, position: int) -> None:
        """Make this the next position."""
        self._position.fill_(position)
