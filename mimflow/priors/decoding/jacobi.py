"""A block backwards by iterations over many tokens at once."""

from __future__ import annotations

import torch
from torch import Tensor

from mimflow.nn.affine import Affine, ScaledAffine
from mimflow.priors.decoding.branches import Branches
from mimflow.priors.decoding.spec import JacobiDecoding


def by_jacobi(branches: Branches, z: Tensor, decoding: JacobiDecoding) -> Tensor:
    """z (B, T, C) → u (B, T, C), both in the block's order: the fixed point of the maps, chunk by chunk.

    An image that is done keeps the iterate that its maps were asked for, whatever others of its batch still do.
    """
    steps = z.shape[1] - branches.first
    maps = ChunkMaps(branches, steps)
    u = z.clone()
    for begin in range(0, steps, decoding.chunk or steps):
        tokens = slice(branches.first + begin, branches.first + min(begin + (decoding.chunk or steps), steps))
        before = branches.before(u, tokens.start)[:, None]
        noise = iterate = found = z[:, tokens]
        done = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        for _ in range(noise.shape[1]):
            found = maps.of(torch.cat([before, iterate[:, :-1]], dim=1), begin).denormalise(noise)
            change, size = ((tensor.square().mean((1, 2))) for tensor in (found - iterate, found))
            done |= change <= decoding.tolerance * size
            if done.all():
                break
            iterate = torch.where(done[:, None, None], iterate, found)
        u[:, tokens] = found
        maps.keep(noise.shape[1])
    return u


class ChunkMaps:
    """A block's maps of several tokens side by side, after those that have been kept."""

    def __init__(self, branches: Branches, steps: int):
        self.branches, self.steps = branches, steps
        # Conditions are the same for all tokens.
        self.conditioning = branches.conditioning.over_tokens()
        prefix = self.conditioning.prefix
        self._cache = branches.block.transformer.new_cache(branches.rows, steps + (prefix is not None))
        if prefix is not None:
            self._extend(prefix)
            self.keep(1)

    def of(self, read: Tensor, begin: int) -> Affine | ScaledAffine:
        """The maps (B, tokens, C) of steps from `begin` on, given what the block reads for them (B, tokens, C)."""
        h = self.branches.block.embed(read, slice(begin, begin + read.shape[1]))
        h = h if self.branches.guidance is None else h.repeat(2, 1, 1)
        if self.conditioning.added is not None:
            h = h + self.conditioning.added
        output = self.branches.block.project(self._extend(h), self.conditioning)
        return self.branches.combine_all(output, begin, self.steps)

    def keep(self, tokens: int) -> None:
        """So many tokens stay as they were asked for last."""
        self._cache.advance(tokens)

    def _extend(self, h: Tensor) -> Tensor:
        block, branches = self.branches.block, self.branches
        return block.transformer.extend(
            h, self._cache, branches.temperature, self.conditioning.modulations, block.rotation
        )
