"""Normalisation layers by the name that specs give them."""

from __future__ import annotations

from torch import nn

LAYER_EPS = 1e-5
"""PyTorch's default, which TARFlow keeps."""
UNSCALED_EPS = 1e-6
"""As in DiT (Peebles & Xie, arXiv 2212.09748), whose norms have no scale of their own."""
RMS_EPS = 1e-6


def make_norm(kind: str, width: int, *, affine: bool = True) -> nn.Module:
    """`layer` or `rms` normalisation of vectors of `width`; without `affine`, with nothing to learn.

    STARFlow writes its RMS norm as x / rms(x) · (1 + g) with g from 0: the same function as PyTorch's, whose scale
    starts at 1. They differ in where weight decay pulls to.
    """
    if kind == "rms":
        return nn.RMSNorm(width, eps=RMS_EPS, elementwise_affine=affine)
    return nn.LayerNorm(width, eps=LAYER_EPS if affine else UNSCALED_EPS, elementwise_affine=affine)
