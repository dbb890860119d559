"""Keys and values of the tokens that a transformer has already seen."""

from __future__ import annotations

import torch
from torch import Tensor


class KeyValueCache:
    """The keys and values of one transformer's layers, in memory that is allocated once.

    A cache is made for one pass over one sequence and handed to every step explicitly: modules keep no
    sampling state. Both branches of guidance share it as one batch. Batch and heads are one axis, as batched
    matrix products want them.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        heads: int,
        tokens: int,
        head_width: int,
        dtype: torch.dtype,
        device: torch.device,
    ):
        self._batch = batch
        self._heads = heads
        shape = (2, batch * heads, tokens, head_width)
        self._layers = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.length = 0
        """Tokens that every layer has seen: the position of the next one."""

    def append(self, layer: int, keys_values: Tensor) -> tuple[Tensor, Tensor]:
        """Store one token's keys and values (B, 2, heads, head_width) at position `length`.

        Returns views (B · heads, length + 1, head_width) of the layer's keys and values so far.
        """
        memory = self._layers[layer]
        written = memory[:, :, self.length].unflatten(1, (self._batch, self._heads))
        written.copy_(keys_values.transpose(0, 1))
        keys, values = memory[:, :, : self.length + 1].unbind(0)
        return keys, values

    def advance(self) -> None:
        """Go on to the next position, once every layer has appended the current token."""
        self.length += 1
