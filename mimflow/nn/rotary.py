"""Rotary position embeddings of tokens on a grid (Su et al., arXiv 2104.09864; STARFlow's axes, arXiv 2506.06276)."""

from __future__ import annotations

import torch
from torch import Tensor

THETA = 10_000.0
"""The base of the frequencies."""


def grid_rotation(grid: tuple[int, int], head_width: int, *, spare: int = 0, side: float | None = None) -> Tensor:
    """Cosines and sines (tokens, head_width / 2, 2) of the tokens of `grid`, in raster order.

    A head's numbers are pairs (2i, 2i + 1). Half of the pairs turn with a token's row, half with its column, pair i
    of n at frequency θ^(−i / n). The last `spare` pairs are left out of this and never turn: STARFlow keeps
    them for a third axis, of text or frames, where image tokens stand at 0. With `side` rows and columns are counted
    in steps of side / √tokens in place of 1.
    """
    pairs = head_width // 2
    per_axis = (pairs - spare) // 2
    step = 1.0 if side is None else side / (grid[0] * grid[1]) ** 0.5
    frequencies = THETA ** (-torch.arange(per_axis) / per_axis)
    rows, columns = (step * axis.flatten() for axis in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    angles = torch.zeros(len(rows), pairs)
    angles[:, :per_axis] = rows[:, None] * frequencies
    angles[:, per_axis : 2 * per_axis] = columns[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotate(h: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair of h (…, head_width) by its angle, in at least fp32; `rotation` (…, head_width / 2, 2)."""
    even, odd = h.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = rotation.unbind(-1)
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2).to(h.dtype)
