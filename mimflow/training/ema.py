"""Exponential moving averages of trained tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Averages of parameters, by name: after each step, average ← decay · average + (1 − decay) · parameter."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.decay = decay
        self.parameters = parameters
        self.averages: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they now are."""
        torch._foreach_lerp_(list(self.averages.values()), list(self.parameters.values()), 1 - self.decay)

    @torch.no_grad()
    def update_where(self, taken: Tensor) -> None:
        """The same where `taken`, a truth value on the device, says so, and nothing otherwise."""
        weight = taken.float() * (1 - self.decay)
        for name, average in self.averages.items():
            average.lerp_(self.parameters[name], weight.to(average.dtype))

    @torch.no_grad()
    def load(self, averages: dict[str, Tensor]) -> None:
        """Take back averages that were saved."""
        for name, average in self.averages.items():
            average.copy_(averages[name])
