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
