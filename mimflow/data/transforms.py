"""How an image becomes a square: the ways of the papers, with Pillow's own filters."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mimflow.data.sources.base import BadImageError
from mimflow.data.spec import Transform


def cut(image: Image.Image, transform: Transform) -> np.ndarray:
    """An image of mode L or RGB → uint8 (size, size, C). BadImageError if the method can't make it fit."""
    size = transform.size
    match transform.method:
        case "none":
            pixels = _unchanged(image, size)
        case "pad":
            pixels = _pad(image, size)
        case "bilinear":
            pixels = _bilinear(image, size)
        case "adm":
            pixels = _adm(image, size)
    return pixels.reshape(size, size, -1)


def _unchanged(image: Image.Image, size: int) -> np.ndarray:
    if image.size != (size, size):
        raise BadImageError(
            f"{image.width}×{image.height} pixels, method 'none' needs {size}×{size} (use bilinear or adm)"
        )
    return np.asarray(image)


def _pad(image: Image.Image, size: int) -> np.ndarray:
    """Black on all sides; the odd pixel goes below and to the right."""
    if max(image.size) > size:
        raise BadImageError(
            f"{image.width}×{image.height} pixels can't be padded to {size}×{size} (use bilinear or adm)"
        )
    square = Image.new(image.mode, (size, size))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(square)


def _bilinear(image: Image.Image, size: int) -> np.ndarray:
    """torchvision's Resize(size) and CenterCrop(size), bilinear with antialias, as TARFlow has it."""
    short, long = min(image.size), max(image.size)
    if short != size:
        other = int(size * long / short)
        new = (size, other) if image.width <= image.height else (other, size)
        image = _resize(image, new, Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2.0), round((image.height - size) / 2.0)
    return np.asarray(image)[top : top + size, left : left + size]


def _adm(image: Image.Image, size: int) -> np.ndarray:
    """Guided diffusion's centre crop: halved by boxes while twice too large, then bicubic, then cropped."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    new = (round(image.width * scale), round(image.height * scale))
    image = _resize(image, new, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image)[top : top + size, left : left + size]


def _resize(image: Image.Image, new: tuple[int, int], method: Image.Resampling) -> Image.Image:
    # A strip of a million pixels by one would become one of a million times `size`, squared.
    if Image.MAX_IMAGE_PIXELS is not None and new[0] * new[1] > Image.MAX_IMAGE_PIXELS:
        before, after = f"{image.width}×{image.height}", f"{new[0]}×{new[1]}"
        raise BadImageError(f"{before} pixels: too narrow, resized it is {after}")
    return image.resize(new, method)
