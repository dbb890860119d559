"""Softmax attention, and when PyTorch's fused kernel for it is the slower way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional as F

EXPLICIT_UP_TO = 512
"""Tokens up to which explicit products beat PyTorch's fused attention in half precision on the CPU."""


_as_on_a_gpu: ContextVar[bool] = ContextVar("as_on_a_gpu", default=False)


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Within it, attention goes through the fused kernel as on a GPU: to find out what memory is needed there."""
    before = _as_on_a_gpu.set(True)
    try:
        yield
    finally:
        _as_on_a_gpu.reset(before)


def product_dtype(tensor: Tensor) -> torch.dtype:
    """The precision of matrix products of a tensor: autocast's where it is on, else the tensor's own."""
    device = tensor.device.type
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # meta tensors have none
    return torch.get_autocast_dtype(device) if on else tensor.dtype


def fused_is_faster(device: torch.device, dtype: torch.dtype, tokens: int) -> bool:
    """False for short sequences in half precision on the CPU, where the fused kernel's backward is slow.

    Forward and backward of causal attention for 64 tokens take 11.7 ms fused and 2.8 ms explicit, break-even lies
    between 256 and 1024. A training step of a ViT 64 wide with 2 + 2 layers over 81 tokens takes 103 ms fused and 63 ms
    with explicit products.
    """
    short = device.type == "cpu" and dtype in (torch.bfloat16, torch.float16) and tokens <= EXPLICIT_UP_TO
    return not short or _as_on_a_gpu.get()


def attention(queries: Tensor, keys: Tensor, values: Tensor, scale: float, *, causal: bool) -> Tensor:
    """Softmax attention of each token to all, or, causal, to itself and those before it.

    All tensors are (B, heads, T, head_width).
    """
    tokens = queries.shape[2]
    if fused_is_faster(queries.device, queries.dtype, tokens):
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=causal, scale=scale)
    hidden = torch.zeros((tokens, tokens), dtype=queries.dtype)
    if causal:
        hidden = torch.full_like(hidden, -torch.inf).triu(1)
    queries, keys, batched_values = queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1)
    weights = torch.baddbmm(hidden, queries, keys.transpose(1, 2), alpha=scale).softmax(-1)
    return torch.bmm(weights, batched_values).view_as(values)
