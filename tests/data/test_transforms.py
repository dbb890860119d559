"""Decoding images and cutting them to squares."""

from __future__ import annotations

import struct
import warnings
import zlib
from functools import cache
from io import BytesIO

import numpy as np
import pytest
import skimage.data
from PIL import Image
from torchvision.transforms import v2

from mimflow.data.decode import decode
from mimflow.data.sources.base import BadImageError
from mimflow.data.spec import Transform
from mimflow.data.transforms import cut

PHOTOGRAPH = Image.fromarray(skimage.data.chelsea())
"""451 × 300 pixels."""
CROP = PHOTOGRAPH.crop((100, 50, 148, 90))
DEFAULTS = Transform(size=32)
AS_RELEASED = Transform(size=32, orientation="stored", transparency="drop")
"""What torchvision's ImageFolder does: `Image.open(file).convert("RGB")`."""


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(colour: int, samples: np.ndarray, transparent: bytes = b"") -> bytes:
    """A PNG of 16 bits: Pillow writes none in colour. Colour type 0 is grey (H, W), 2 is RGB (H, W, 3)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *([chunk(b"tRNS", transparent)] if transparent else [])]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def pixels(data: bytes | np.ndarray, channels: int = 3, transform: Transform = DEFAULTS) -> np.ndarray:
    return np.asarray(decode(data, channels, transform)).astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_pixels_that_were_saved(kind: str) -> None:
    assert np.array_equal(pixels(encoded(CROP, kind)), np.asarray(CROP))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "MPO"])
def test_lossy_formats_give_nearly_the_pixels_that_were_saved(kind: str) -> None:
    assert np.abs(pixels(encoded(CROP, kind, quality=95)) - np.asarray(CROP)).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_grey_and_palettes_become_what_they_show(mode: str) -> None:
    image = CROP.convert(mode)
    data = encoded(image)
    assert np.array_equal(pixels(data), np.asarray(image.convert("RGB")))
    assert np.array_equal(pixels(data, channels=1), np.asarray(image.convert("RGB").convert("L")))


@pytest.mark.parametrize(("kind", "tolerance"), [("TIFF", 0), ("JPEG", 6)])
def test_cmyk_becomes_rgb(kind: str, tolerance: float) -> None:
    """Not inverted: JPEG writers store CMYK upside down."""
    data = encoded(CROP.convert("CMYK"), kind)
    assert np.abs(pixels(data) - np.asarray(CROP)).mean() <= tolerance


def test_sixteen_bits_keep_the_upper_eight() -> None:
    grey = np.array([[0, 255, 256, 40_000], [65_535, 32_767, 32_768, 65_279]], np.uint16)
    expected = np.array([[0, 0, 1, 156], [255, 127, 128, 254]])
    assert np.array_equal(pixels(encoded(Image.fromarray(grey)), channels=1), expected)
    assert np.array_equal(pixels(encoded(Image.fromarray(grey), "TIFF"), channels=1), expected)
    assert np.array_equal(pixels(png(0, grey), channels=1), expected)
    colour = np.stack([grey, grey[::-1], grey], axis=2)
    assert np.array_equal(pixels(png(2, colour)), np.stack([expected, expected[::-1], expected], axis=2))


def test_opaque_alpha_is_dropped() -> None:
    opaque = CROP.copy()
    opaque.putalpha(255)
    assert np.array_equal(pixels(encoded(opaque)), np.asarray(CROP))


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (3, 1), (0, 100, 200, 255))
    image.putpixel((1, 0), (0, 100, 200, 0))
    image.putpixel((2, 0), (0, 100, 200, 51))
    # A fifth of the colour, four fifths of white.
    assert np.array_equal(pixels(encoded(image)), [[[0, 100, 200], [255, 255, 255], [204, 224, 244]]])
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert np.array_equal(pixels(encoded(palette, transparency=0)), [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_is_dropped_as_by_public_loaders(channels: int) -> None:
    see_through = CROP.copy()
    see_through.putalpha(Image.linear_gradient("L").resize(CROP.size))
    grey, palette = see_through.convert("LA"), CROP.quantize(16)
    for data in (encoded(see_through), encoded(grey), encoded(palette, transparency=3), encoded(CROP, exif=b"")):
        loaded = Image.open(BytesIO(data)).convert("RGB")
        expected = loaded if channels == 3 else loaded.convert("L")
        assert np.array_equal(pixels(data, channels, AS_RELEASED), np.asarray(expected))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)],
)
def test_exif_rotation_is_applied(orientation: int, turned: Image.Transpose) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turning = encoded(CROP, exif=exif)
    assert np.array_equal(pixels(turning), np.asarray(CROP.transpose(turned)))
    assert np.array_equal(pixels(turning, transform=AS_RELEASED), np.asarray(CROP))


def test_arrays_are_grey_images() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(pixels(values, channels=1), values)
    assert np.array_equal(pixels(values, channels=3), np.stack([values] * 3, axis=2))


@pytest.mark.fault("images")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = encoded(CROP, kind)
    with pytest.raises(BadImageError, match=r"can't be decoded|not a PNG"):
        decode(data[: int(share * len(data))], 3, DEFAULTS)


@pytest.mark.fault("images")
def test_no_flipped_bit_of_a_png_changes_a_pixel_unseen() -> None:
    data = encoded(CROP.resize((8, 8)), compress_level=0)
    whole = len(data) - len(b"size" + b"IEND" + b"sum!")
    for place in range(whole):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(BadImageError, match=r"can't be decoded|not a PNG|decompression bomb"):
            decode(bytes(flipped), 3, DEFAULTS)


@cache
def refused() -> dict[str, tuple[bytes, str]]:
    two = {"save_all": True, "append_images": [CROP.rotate(90)]}
    grey = np.full((2, 2), 40_000, np.uint16)
    return {
        "empty": (b"", "an empty file"),
        "text": (b"<html>404</html>", "not a PNG, JPEG, WebP, BMP or TIFF image"),
        "gif": (encoded(CROP, "GIF"), "not a PNG, JPEG, WebP, BMP or TIFF image"),
        "animated": (encoded(CROP, **two), "holds 2 pictures"),
        "pages": (encoded(CROP, "TIFF", **two), "holds 2 pictures"),
        "integers": (encoded(Image.fromarray(np.zeros((2, 2), np.int32)), "TIFF"), "mode I of Pillow's"),
        "floats": (encoded(CROP.convert("F"), "TIFF"), "mode F of Pillow's"),
        "lab": (encoded(CROP.convert("LAB"), "TIFF"), "mode LAB of Pillow's"),
        "16-bit key": (png(0, grey, struct.pack(">H", 40_000)), "16 bits with one colour transparent"),
        "white is 0": (encoded(Image.fromarray(grey), "TIFF", tiffinfo={262: 0}), "with white as 0"),
        "bomb": (encoded(Image.new("1", (10_000, 10_000))), "89,478,485 pixels: a decompression bomb"),
        "large bomb": (encoded(Image.new("1", (16_000, 16_000))), "89,478,485 pixels: a decompression bomb"),
    }


@pytest.mark.fault("images")
@pytest.mark.parametrize("name", refused())
def test_what_can_be_misread_is_refused(name: str) -> None:
    data, message = refused()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImageError, match=message):
            decode(data, 3, DEFAULTS)


def test_none_takes_only_its_own_size() -> None:
    image = CROP.resize((16, 16))
    assert np.array_equal(cut(image, Transform(size=16)), np.asarray(image))
    with pytest.raises(BadImageError, match=r"48×40 pixels, method 'none' needs 16×16 \(use bilinear or adm\)"):
        cut(CROP, Transform(size=16))


def test_pad_centres_on_black() -> None:
    image = Image.fromarray(np.full((2, 3), 7, np.uint8))
    padded = cut(image, Transform(size=6, method="pad"))
    assert padded.shape == (6, 6, 1)
    assert np.array_equal(padded[2:4, 1:4, 0], np.full((2, 3), 7))
    assert padded.sum() == 6 * 7
    with pytest.raises(BadImageError, match="48×40 pixels can't be padded to 45×45"):
        cut(CROP, Transform(size=45, method="pad"))


@pytest.mark.parametrize("size", [31, 64, 300, 420])
@pytest.mark.parametrize("upright", [False, True])
def test_bilinear_is_torchvisions_resize_and_centre_crop(size: int, upright: bool) -> None:
    image = PHOTOGRAPH.rotate(90, expand=True) if upright else PHOTOGRAPH
    expected = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])(image)
    assert np.array_equal(cut(image, Transform(size=size, method="bilinear")), np.asarray(expected))


def test_adm_halves_by_boxes_then_resizes_then_crops() -> None:
    """451×300 at 64: halved to 225×150 and 112×75, scaled by 64/75 to 96×64, cropped from column 16."""
    halved = PHOTOGRAPH.resize((225, 150), Image.Resampling.BOX).resize((112, 75), Image.Resampling.BOX)
    expected = np.asarray(halved.resize((96, 64), Image.Resampling.BICUBIC))[:, 16:80]
    assert np.array_equal(cut(PHOTOGRAPH, Transform(size=64, method="adm")), expected)


def test_adm_at_exactly_twice_the_size_is_the_mean_of_four() -> None:
    image = PHOTOGRAPH.crop((0, 0, 300, 300))
    means = np.asarray(image).reshape(150, 2, 150, 2, 3).astype(float).mean(axis=(1, 3))
    # Pillow rounds after either axis.
    assert np.abs(cut(image, Transform(size=150, method="adm")) - means).max() <= 1


def test_adm_crops_from_the_rounded_down_middle() -> None:
    image = Image.fromarray(np.tile(np.arange(11, dtype=np.uint8), (8, 1)))
    assert np.array_equal(cut(image, Transform(size=8, method="adm"))[0, :, 0], np.arange(1, 9))


@pytest.mark.parametrize("method", ["bilinear", "adm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_resized_images_have_the_shape_asked_for(method: str, channels: int) -> None:
    image = PHOTOGRAPH.convert("L" if channels == 1 else "RGB")
    for width, height in [(5, 90), (90, 5), (33, 33), (65, 64)]:
        made = cut(image.resize((width, height)), Transform(size=32, method=method))
        assert made.shape == (32, 32, channels)
        assert made.dtype == np.uint8


@pytest.mark.fault("images")
@pytest.mark.parametrize("method", ["bilinear", "adm"])
def test_a_strip_that_would_explode_is_refused(method: str) -> None:
    with pytest.raises(BadImageError, match="50000×1 pixels: too narrow, resized it is 3200000×64"):
        cut(Image.new("L", (50_000, 1)), Transform(size=64, method=method))
