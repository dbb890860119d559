"""A block backwards, token by token."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.nn.affine import Affine, ScaledAffine
from mimflow.nn.attention import product_dtype
from mimflow.nn.prepared import prepared_linear
from mimflow.nn.stepper import stepper_for
from mimflow.priors.decoding.branches import Branches


def token_by_token(branches: Branches, z: Tensor) -> Tensor:
    """z (B, T, C) → u (B, T, C), both in the block's order, a step for each predicted token."""
    u = torch.empty_like(z)
    u[:, : branches.first] = z[:, : branches.first]
    maps = Maps(branches, z.shape[1] - branches.first)
    with torch.autocast(z.device.type, enabled=False):  # what it would convert at each call has been, once
        for token in range(branches.first, z.shape[1]):
            u[:, token] = maps.next(branches.before(u, token)).denormalise(z[:, token])
    return u


class Maps:
    """A block's maps, one token after the other, with all that tokens share made ready once."""

    def __init__(self, branches: Branches, steps: int):
        block, conditioning = branches.block, branches.conditioning
        self.branches, self.steps, self.step = branches, steps, 0
        self.dtype, self.exact = product_dtype(block.proj_in.weight), block.proj_in.weight.dtype
        tokens = steps + (conditioning.prefix is not None)
        self._transformer = stepper_for(block.transformer, branches.rows, tokens, block.rotation)
        self._transformer.begin(branches.temperature, conditioning.modulations)
        self._places = block.places()
        self._proj_in = prepared_linear(block.proj_in.weight, block.proj_in.bias, branches.batch, self.dtype)
        self._proj_out = prepared_linear(block.proj_out.weight, block.proj_out.bias, branches.rows, self.dtype)
        if conditioning.prefix is not None:
            with torch.autocast(conditioning.prefix.device.type, enabled=False):
                self._transformer(conditioning.prefix.clone())

    def next(self, read: Tensor) -> Affine | ScaledAffine:
        """The map (B, C) of the next token, given the one, (B, C), that the block reads for it."""
        h = self._proj_in(read.to(self.dtype)).to(self.exact)
        if self._places is not None:
            h = h + self._places[self.step]
        h = self._transformer(self.branches.told(h))
        h = self.branches.block.normed(h, self.branches.conditioning)
        affine = self.branches.combine(self._proj_out(h.to(self.dtype)), self.step, self.steps)
        self.step += 1
        return affine
