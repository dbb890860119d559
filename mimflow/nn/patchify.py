"""Images to patch tokens and back."""

from __future__ import annotations

from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Images (B, C, H, W) → tokens (B, H/p · W/p, C · p²).

    Tokens run in raster order over the grid of patches; the features of a token run (channel, row, column),
    channel slowest, as TARFlow's released code has them.
    """
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    patches = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size**2)


def unpatchify(tokens: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`: tokens (B, rows · columns, C · p²) over `grid` → images (B, C, H, W)."""
    rows, columns = grid
    patches = tokens.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, grid)
    images = patches.permute(0, 3, 1, 4, 2, 5)
    return images.reshape(len(tokens), -1, rows * patch_size, columns * patch_size)


def group_tokens(tokens: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Tokens (B, rows · columns, C) over `grid` → squares of `side` × `side` of them, (B, rows · columns / s², C · s²).

    The squares run in raster order; their features run (channel, row, column), channel slowest.
    """
    return patchify(unpatchify(tokens, 1, grid), side)


def ungroup_tokens(groups: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `group_tokens`: (B, rows · columns / s², C · s²) → tokens (B, rows · columns, C) over `grid`."""
    rows, columns = grid
    return patchify(unpatchify(groups, side, (rows // side, columns // side)), 1)
