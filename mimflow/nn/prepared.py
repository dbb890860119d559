"""Linear maps and norms of a few rows, with what is the same in all calls laid out once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REORDERED_FROM = 2**18
"""Numbers of a weight from which oneDNN's own layout beats MKL's product with a transposed one, for 8 to 64 rows.

At width 128 oneDNN's call costs 35 µs more; at width 1024 and 16 rows its product is twice as fast. The rule is by
shape and not by a measurement, which could fall either way: samples are the same bits each time they are drawn.
"""

Map = Callable[[Tensor], Tensor]


def prepared_linear(weight: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype) -> Map:
    """x (rows, inputs) of `dtype` → x Wᵀ + b (rows, outputs), for a weight (outputs, inputs) of any precision.

    It is made for one sequence, in which weights stay what they are: what is copied does not follow them. On the CPU
    the result may lie in memory that the next call writes to.
    """
    weight, bias = weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
    if weight.device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return lambda x: F.linear(x, weight, bias)
    if _reorders(weight):
        reordered = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, reordered, bias, "none", [], "")
    transposed = weight.t().contiguous()
    result = weight.new_empty(rows, len(weight))
    if bias is None:
        return lambda x: torch.mm(x, transposed, out=result)
    return lambda x: torch.addmm(bias, x, transposed, out=result)


def prepared_norm(norm: nn.Module) -> Map:
    """What a norm does, in fewer calls: for a few rows a module's own take as long as its arithmetic."""
    if isinstance(norm, nn.LayerNorm):
        shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    return norm


def _reorders(weight: Tensor) -> bool:
    """Whether oneDNN's layout pays, and is there for this precision on this processor."""
    if not torch.backends.mkldnn.is_available() or weight.numel() < REORDERED_FROM:
        return False
    return weight.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
