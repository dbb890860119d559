"""From the bytes of an image file to 8-bit grey or RGB, or a refusal: nothing is silently misread."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from mimflow.data.sources.base import PIXELS, BadImageError
from mimflow.data.spec import Transform

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""What Pillow may try."""

MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
"""Pillow's modes of 8 bits and fewer whose conversion to RGB is defined without a colour profile."""

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**26
"""Bytes of a PNG's colour profile or text, unpacked: Pillow refuses a sound image for one above a megabyte."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation, what brings an image upright."""

PNG_DEPTH = 24
"""Where a PNG file has its bits per sample: Pillow does not say."""

BLACK_IS_ZERO = 1
"""TIFF's photometric interpretation."""


def decode(raw: bytes | np.ndarray, channels: int, transform: Transform, max_pixels: int = PIXELS) -> Image.Image:
    """The image in a file's bytes, or of a uint8 array (H, W) or (H, W, 3): mode L for 1 channel, RGB for 3.

    The transform says whether EXIF's rotation is applied and what becomes of transparency. Palettes, CMYK and grey are
    converted, 16 bits lose the lower eight. BadImageError for what is truncated, corrupt, animated, of more pixels than
    `max_pixels`, or of values that have no place in 8 bits.
    """
    image = Image.fromarray(raw) if isinstance(raw, np.ndarray) else _load(raw, transform.orientation, max_pixels)
    if image.mode.startswith("I;16"):
        image = _to_8_bits(image)
    if image.mode not in MODES:
        raise BadImageError(f"mode {image.mode} of Pillow's has no one meaning in 8 bits (convert it)")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = _on_white(image) if transform.transparency == "white" else image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _load(data: bytes, orientation: str, max_pixels: int) -> Image.Image:
    if not data:
        raise BadImageError("an empty file")
    with _refusing_bombs(max_pixels):
        try:
            _check_sums(data)
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                _refuse_misread(image, data)
                image.load()
                loaded = _upright(image) if orientation == "upright" else image.copy()
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise BadImageError(
                f"more than {max_pixels:,} pixels: a decompression bomb (or, of a photograph, a larger max_pixels of "
                "the data set's source)"
            ) from None
        except UnidentifiedImageError:
            raise BadImageError("not a PNG, JPEG, WebP, BMP or TIFF image") from None
        except (BadImageError, MemoryError):
            raise
        # On corrupt data Pillow raises whatever its parsers stumble over: OSError, SyntaxError …
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadImageError(f"can't be decoded: {reason}") from error
    return loaded


@contextmanager
def _refusing_bombs(max_pixels: int) -> Iterator[None]:
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data say; as it is stored where they can't be read, as viewers show it.

    Pillow's own function also writes the other tags anew, and fails on a broken one.
    """
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    # On corrupt data Pillow raises whatever its parsers stumble over.
    except Exception:
        turn = None
    return image.copy() if turn is None else image.transpose(turn)


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
