"""From the bytes of an image file to 8-bit grey or RGB, or a refusal: nothing is silently misread."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from mimflow.data.sources.base import BadImageError
from mimflow.data.spec import Transform

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""What Pillow may try."""

MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
"""Pillow's modes of 8 bits and fewer whose conversion to RGB is defined without a colour profile."""

PNG_DEPTH = 24
"""Where a PNG file has its bits per sample: Pillow does not say."""

BLACK_IS_ZERO = 1
"""TIFF's photometric interpretation."""


def decode(raw: bytes | np.ndarray, channels: int, transform: Transform) -> Image.Image:
    """The image in a file's bytes, or of a uint8 array (H, W) or (H, W, 3): mode L for 1 channel, RGB for 3.

    The transform says whether EXIF's rotation is applied and what becomes of transparency. Palettes, CMYK and grey are
    converted, 16 bits lose the lower eight. BadImageError for what is truncated, corrupt, animated, of too many pixels,
    or of values that have no place in 8 bits.
    """
    image = Image.fromarray(raw) if isinstance(raw, np.ndarray) else _load(raw, transform.orientation)
    if image.mode.startswith("I;16"):
        image = _to_8_bits(image)
    if image.mode not in MODES:
        raise BadImageError(f"mode {image.mode} of Pillow's has no one meaning in 8 bits (convert it)")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = _on_white(image) if transform.transparency == "white" else image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _load(data: bytes, orientation: str) -> Image.Image:
    if not data:
        raise BadImageError("an empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            _check_sums(data)
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                _refuse_misread(image, data)
                image.load()
                loaded = ImageOps.exif_transpose(image) if orientation == "upright" else image.copy()
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            most = f"{Image.MAX_IMAGE_PIXELS:,}"
            raise BadImageError(f"more than {most} pixels: a decompression bomb") from None
        except UnidentifiedImageError:
            raise BadImageError("not a PNG, JPEG, WebP, BMP or TIFF image") from None
        except (BadImageError, MemoryError):
            raise
        # On corrupt data Pillow raises whatever its parsers stumble over: OSError, SyntaxError …
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadImageError(f"can't be decoded: {reason}") from error
    return loaded


def _check_sums(data: bytes) -> None:
    """Check the sums of a PNG's chunks: loading it does not, and a flipped bit goes unseen."""
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        if image.format == "PNG":
            image.verify()


def _refuse_misread(image: Image.Image, data: bytes) -> None:
    """Refuse what Pillow loads without complaint, but only in part or with wrong values."""
    # MPO is how some cameras write JPEG: the first picture is the photograph.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise BadImageError(f"holds {frames} pictures (keep one)")
    if image.format == "PNG" and data[PNG_DEPTH] == 16 and "transparency" in image.info:
        raise BadImageError("16 bits with one colour transparent (convert it)")
    if isinstance(image, TiffImageFile) and image.mode.startswith("I;16"):
        bits, black = image.tag_v2.get(BITSPERSAMPLE), image.tag_v2.get(PHOTOMETRIC_INTERPRETATION)
        if (bits, black) != ((16,), BLACK_IS_ZERO):
            raise BadImageError("grey of neither 8 nor 16 bits, or with white as 0 (convert it)")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """The upper eight of sixteen bits, as Pillow itself does with colour images of 16 bits."""
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """An image of mode RGBA → RGB; where all is opaque, its own pixels."""
    if np.asarray(image.getchannel("A")).min() < 255:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
