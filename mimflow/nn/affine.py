"""The element-wise affine map between data and noise, by its shift and log-scale, or by a scale of any sign."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in at least single precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class Affine(NamedTuple):
    """u = z · exp(log_scale) + shift, element by element; the exponential is taken in at least fp32."""

    shift: Tensor
    log_scale: Tensor

    def normalise(self, u: Tensor) -> Tensor:
        """Data → noise: z = (u − shift) · exp(−log_scale)."""
        return (u - self.shift) * torch.exp(-at_least_fp32(self.log_scale))

    def denormalise(self, z: Tensor) -> Tensor:
        """Noise → data: u = z · exp(log_scale) + shift."""
        return z * torch.exp(at_least_fp32(self.log_scale)) + self.shift

    def logdet(self) -> Tensor:
        """(B,) log |det ∂z/∂u|, summed over all other axes, in nats."""
        return -at_least_fp32(self.log_scale).flatten(1).sum(1)


class ScaledAffine(NamedTuple):
    """u = z · scale + shift, element by element, with scales that may be 0 or negative: the way from noise alone."""

    shift: Tensor
    scale: Tensor

    def denormalise(self, z: Tensor) -> Tensor:
        """Noise → data: u = z · scale + shift."""
        return z * self.scale + self.shift
