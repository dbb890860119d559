"""What a block is asked while it samples, and what becomes of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mimflow.nn.affine import Affine, ScaledAffine
from mimflow.priors.guidance.rules import Guidance

if TYPE_CHECKING:
    from mimflow.priors.block import AutoregressiveBlock, Conditioning


class Branches:
    """A batch B of a block, or with guidance 2B rows: the conditional branch and then the null branch."""

    def __init__(self, block: AutoregressiveBlock, labels: Tensor, guidance: Guidance | None, level: Tensor | None):
        self.block, self.guidance, self.batch = block, guidance, len(labels)
        self.temperature: Tensor | float = 1.0
        """Of attention: a number, or (rows, 1, 1)."""
        if guidance is not None:
            labels = torch.cat([labels, guidance.null_labels(labels)])
            level = None if level is None else level.repeat(2)
            if guidance.temperature != 1.0:
                each = block.proj_in.weight.new_tensor([1.0, guidance.temperature])
                self.temperature = each.repeat_interleave(self.batch)[:, None, None]
        self.rows = len(labels)
        self.conditioning: Conditioning = block.conditioned(labels, level)

    @property
    def first(self) -> int:
        """The first token that is predicted: without a start token, one passes unchanged."""
        return 1 if self.block.start is None else 0

    def before(self, u: Tensor, token: int) -> Tensor:
        """What the block reads (B, C) to predict `token` of u (B, T, C): the token before it, or the start token."""
        if token or self.block.start is None:
            return u[:, token - 1]
        return self.block.start.expand(self.batch, -1)

    def told(self, h: Tensor) -> Tensor:
        """Embedded tokens (B, width) → (rows, width), with what is added for the condition of each row."""
        added = self.conditioning.added
        if added is not None:
            return (h + added.view(-1, *h.shape)).flatten(0, 1)
        return h if self.guidance is None else h.repeat(2, 1)

    def combine(self, output: Tensor, step: int, steps: int) -> Affine | ScaledAffine:
        """The map (B, C) of `step`'s token from what the branches' projections give, (rows, 2C) or (rows, C)."""
        if self.guidance is None:
            return self.block.affine(output)
        conditional, null = (self.block.affine(half) for half in output.chunk(2))
        return self.guidance.combine(conditional, null, step, steps)

    def combine_all(self, output: Tensor, first: int, steps: int) -> Affine | ScaledAffine:
        """The maps (B, tokens, C) of steps from `first` on, from outputs (rows, tokens, …)."""
        if self.guidance is None:
            return self.block.affine(output)
        conditional, null = (self.block.affine(half) for half in output.chunk(2))
        return self.guidance.combine_all(conditional, null, first, steps)
