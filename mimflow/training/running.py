"""What forward passes in training mode change besides gradients, and how the parts of a batch share it.

Batch norm's running statistics, LeCAM's averages, a volume-preserving flow's variance, the best constants: persistent
buffers. Every part of a player's turn starts from those that the turn began with, and the turn moves them by the mean
of what its parts did: no part knows of another, whichever process computes it, and one part does as it ever did.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimflow.compute.processes import World


class RunningState:
    """The running state of a module over one turn of `parts` parts, `world.own(parts)` of them computed here."""

    def __init__(self, module: nn.Module, parts: int, world: World):
        self.module = module
        self.parts = parts
        self.world = world
        self._names = module.state_dict().keys()
        self._before = {name: buffer.clone() for name, buffer in self._buffers().items()}
        self._moved: dict[str, Tensor] = {}

    @torch.no_grad()
    def end_part(self) -> None:
        """Note what a part did, and let the next one start as the turn began."""
        if self.parts == 1:
            return
        for name, buffer in self._buffers().items():
            before = self._before[name]
            # What has not moved may be infinite.
            moved = torch.where(buffer == before, 0.0, buffer.double() - before.double())
            self._moved[name] = self._moved[name] + moved if name in self._moved else moved
            buffer.copy_(before)

    @torch.no_grad()
    def end_turn(self, kept: Tensor) -> None:
        """Move the state by the mean of what the parts did, where `kept`, a truth value on the device, says so."""
        if self.parts > 1 and self._moved:
            total = self.world.sum(torch.cat([moved.flatten() for moved in self._moved.values()])) / self.parts
            sizes = [moved.numel() for moved in self._moved.values()]
            means = dict(zip(self._moved, total.split(sizes), strict=True))
        else:
            means = {}
        for name, buffer in self._buffers().items():
            before = self._before[name]
            after = (before.double() + means[name].view_as(before)).to(buffer.dtype) if name in means else buffer
            buffer.copy_(torch.where(kept, after, before))

    def _buffers(self) -> dict[str, Tensor]:
        """Asked anew every time: some are replaced and not changed in place."""
        return {
            name: buffer
            for name, buffer in self.module.named_buffers()
            if name in self._names and buffer.dtype != torch.bool
        }
