"""Images to patch tokens and back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Images (B, C, H, W) → tokens (B, H/p · W/p, C · p²).

    Tokens run in raster order over the grid of patches; the features of a token run (channel, row, column),
    channel slowest, as TARFlow's released code has them.
    """
    return F.pixel_unshuffle(images, patch_size).flatten(2).transpose(1, 2).contiguous()


def unpatchify(tokens: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`: tokens (B, rows · columns, C · p²) over `grid` → images (B, C, H, W)."""
    # A view as rows and back: so gradients come out contiguous, and what follows adds them up in raster order.
    tokens = tokens.flatten(1).view_as(tokens)
    images = F.pixel_shuffle(_on_grid(tokens, grid), patch_size).contiguous()
    # One channel is contiguous in more than one way; convolutions choose their algorithm, thus bits, by its strides.
    return images.flatten(1).view(images.shape)


def group_tokens(tokens: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Tokens (B, rows · columns, C) over `grid` → squares of `side` × `side` of them, (B, rows · columns / s², C · s²).

    The squares run in raster order; their features run (channel, row, column), channel slowest.
    """
    return tokens if side == 1 else patchify(_on_grid(tokens, grid), side)


def ungroup_tokens(groups: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `group_tokens`: (B, rows · columns / s², C · s²) → tokens (B, rows · columns, C) over `grid`."""
    if side == 1:
        return groups
    rows, columns = grid
    return unpatchify(groups, side, (rows // side, columns // side)).flatten(2).transpose(1, 2)


def _on_grid(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens (B, rows · columns, C) → a view of them as a map (B, C, rows, columns)."""
    return tokens.transpose(1, 2).unflatten(2, grid)
