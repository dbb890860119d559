"""Random numbers for the images of a batch, each image's from a generator of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class Draws:
    """What is random about B images: what one is given follows from its seed alone, not from its batch.

    Drawn on the CPU, so that a seed means the same on every device. Draws follow each other: a second one gives other
    numbers.
    """

    def __init__(self, seeds: Iterable[int]):
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal float32."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32, uniform on [0, 1)."""
        return torch.stack([torch.rand(shape, generator=generator) for generator in self._generators])

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """One an image, for draws that are neither."""
        return self._generators


def normal_like(tensor: Tensor, draws: Draws | None) -> Tensor:
    """Standard normal numbers like a tensor (B, …): of each image's own generator, or of torch's default one."""
    return torch.randn_like(tensor) if draws is None else draws.normal(*tensor.shape[1:]).to(tensor)


def uniform_like(tensor: Tensor, draws: Draws | None) -> Tensor:
    """Numbers on [0, 1) like a tensor (B, …), as above."""
    return torch.rand_like(tensor) if draws is None else draws.uniform(*tensor.shape[1:]).to(tensor)
