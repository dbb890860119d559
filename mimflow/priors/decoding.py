"""Running a block backwards: its maps follow from tokens that are known, and give the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mimflow.nn.affine import Affine, ScaledAffine
from mimflow.nn.attention import product_dtype
from mimflow.nn.prepared import prepared_linear
from mimflow.nn.stepper import Stepper
from mimflow.priors.guidance.rules import Guidance

if TYPE_CHECKING:
    from mimflow.priors.block import AutoregressiveBlock, Conditioning


class Branches:
    """What a block is asked while it samples: of a batch B, or with guidance of 2B, conditional half and null half."""

    def __init__(self, block: AutoregressiveBlock, labels: Tensor, guidance: Guidance | None, level: Tensor | None):
        self.block, self.guidance, self.batch = block, guidance, len(labels)
        self.temperature: Tensor | float = 1.0
        if guidance is not None:
            labels = torch.cat([labels, guidance.null_labels(labels)])
            level = None if level is None else level.repeat(2)
            if guidance.temperature != 1.0:
                self.temperature = block.proj_in.weight.new_tensor([1.0, guidance.temperature])
                self.temperature = self.temperature.repeat_interleave(self.batch)[:, None, None]
        self.rows = len(labels)
        self.conditioning: Conditioning = block.conditioned(labels, level)

    def told(self, h: Tensor) -> Tensor:
        """Embedded tokens (B, width) → (rows, width), with what is added for the condition of each row."""
        added = self.conditioning.added
        if added is not None:
            return (h + added.view(-1, *h.shape)).flatten(0, 1)
        return h if self.guidance is None else h.repeat(2, 1)

    def combine(self, output: Tensor, step: int, steps: int) -> Affine | ScaledAffine:
        """The map (B, C) of `step`'s token from what both branches' projections give, (rows, 2C) or (rows, C)."""
        if self.guidance is None:
            return self.block.affine(output)
        conditional, null = (self.block.affine(half) for half in output.chunk(2))
        return self.guidance.combine(conditional, null, step, steps)


class Stepwise:
    """A block's maps, one token after the other, from all that does not differ between tokens made ready once."""

    def __init__(self, branches: Branches, steps: int):
        block, conditioning = branches.block, branches.conditioning
        self.branches, self.steps, self.step = branches, steps, 0
        self.dtype = product_dtype(block.proj_in.weight)
        self._transformer = Stepper(
            block.transformer,
            branches.rows,
            steps + (conditioning.prefix is not None),
            temperature=branches.temperature,
            modulations=conditioning.modulations,
            rotation=block.rotation,
        )
        self._exact = block.proj_in.weight.dtype
        self._places = block.places()
        self._proj_in = prepared_linear(block.proj_in.weight, block.proj_in.bias, branches.batch, self.dtype)
        self._proj_out = prepared_linear(block.proj_out.weight, block.proj_out.bias, branches.rows, self.dtype)
        if conditioning.prefix is not None:
            self._transformer(conditioning.prefix.clone())

    def next(self, read: Tensor) -> Affine | ScaledAffine:
        """The map (B, C) of the next token, given the one, (B, C), that the block reads for it."""
        h = self._proj_in(read.to(self.dtype)).to(self._exact)
        if self._places is not None:
            h = h + self._places[self.step]
        h = self._transformer(self.branches.told(h))
        h = self.branches.block.normed(h, self.branches.conditioning)
        affine = self.branches.combine(self._proj_out(h.to(self.dtype)), self.step, self.steps)
        self.step += 1
        return affine


def token_by_token(branches: Branches, z: Tensor) -> Tensor:
    """z (B, T, C) → u (B, T, C), both in the block's order, a step for each predicted token."""
    block = branches.block
    first = 1 if block.start is None else 0
    steps = z.shape[1] - first
    u = torch.empty_like(z)
    u[:, :first] = z[:, :first]
    maps = Stepwise(branches, steps)
    # What autocast would convert at each call has been, once.
    with torch.autocast(z.device.type, enabled=False):
        for token in range(first, z.shape[1]):
            read = u[:, token - 1] if token or block.start is None else block.start.expand(len(z), -1)
            u[:, token] = maps.next(read).denormalise(z[:, token])
    return u
