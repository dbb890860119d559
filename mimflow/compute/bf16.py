"""Products of bf16 numbers on processors that have none: PyTorch's own way there takes 5 to 20 times as long as fp32.

A product of two bf16 numbers is exact in fp32, and hardware sums in fp32. So operands are rounded to bf16, multiplied
in fp32 and the result rounded, which is what hardware does, at fp32's speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

PRODUCTS = {
    F.linear, F.conv2d, F.conv_transpose2d, F.scaled_dot_product_attention,
    torch.matmul, torch.mm, torch.bmm, torch.baddbmm, torch.addmm, Tensor.matmul, Tensor.__matmul__,
}  # fmt: skip
"""What autocast computes in bf16 of what our networks use."""


@cache
def has_bf16_products() -> bool:
    """Whether this processor multiplies matrices of bf16 numbers itself."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def bf16_products() -> AbstractContextManager[Any]:
    """Within it, what CPU autocast computes in bf16 is multiplied in fp32, if that is what this processor needs."""
    return nullcontext() if has_bf16_products() else MultipliedInFp32()


class MultipliedInFp32(TorchFunctionMode):
    """Products under CPU autocast: operands and result are rounded to bf16, and so are gradients on their way back."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func not in PRODUCTS or not torch.is_autocast_enabled("cpu"):
            return func(*args, **named)
        operands = [value for value in (*args, *named.values()) if isinstance(value, Tensor)]
        if any(operand.dtype == torch.float64 for operand in operands):  # autocast leaves these alone, too
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            result = func(*map(_rounded, args), **{name: _rounded(value) for name, value in named.items()})
            return result.to(torch.bfloat16)


def _rounded(value: Any) -> Any:
    """A tensor of numbers as the nearest bf16 ones, in fp32."""
    return value.to(torch.bfloat16).float() if isinstance(value, Tensor) and value.is_floating_point() else value
