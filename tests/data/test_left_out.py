"""What a folder of images leaves out is counted, and what is an image is taken whatever surrounds its pixels."""

from __future__ import annotations

import struct
import unicodedata
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimflow.data.decode import decode
from mimflow.data.sources.base import BadImageError
from mimflow.data.sources.folder import ImageFolder, counted
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.data.spec import Transform
from mimflow.errors import DataError

pytestmark = [pytest.mark.slow, pytest.mark.fault("images")]

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
UPRIGHT = Transform(size=4, method="bilinear")


def folder(root: Path) -> ImageFolder:
    return ImageFolder(ImageFolderSpec(path=str(root)))


def put(root: Path, name: str, data: bytes = b"") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def encoded(kind: str, **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(PIXELS).save(stream, kind, **options)
    return stream.getvalue()


def test_what_is_left_out_is_counted_by_ending(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jfif", encoded("JPEG"))
    put(tmp_path, "a/2", encoded("PNG"))
    put(tmp_path, "a/3", encoded("WEBP"))
    for name in ("a/notes.txt", "a/more/x.TXT", "a/4.gif", "a/README", "a/.5.png", "loose.png"):
        put(tmp_path, name, b"text")
    found = folder(tmp_path).listing(by_split=False)
    assert [item.name for item in found.items] == ["a/1.jfif", "a/2", "a/3"]
    assert found.left_out == {
        ".txt": 2, ".gif": 1, "without ending": 1, "hidden": 1, ".png beside class folders": 1,
    }  # fmt: skip
    assert counted(found.left_out).startswith("2 .txt, 1 ")


def test_an_empty_class_says_what_was_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    put(tmp_path, "b/1.gif")
    with pytest.raises(DataError, match=r"b: a class without images \(images end in .*; left out: 1 \.gif; fill or"):
        folder(tmp_path).listing(by_split=False)


def test_images_directly_in_val(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "val/1.png", "val/2.jpg"):
        put(tmp_path, name)
    with pytest.raises(DataError, match=r"val: 2 images directly in it and no class folders \(expected .*val/<class>"):
        folder(tmp_path).listing(by_split=True)


def test_class_names_that_look_the_same(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    put(tmp_path, f"train/{composed}/1.png")
    put(tmp_path, f"val/{decomposed}/1.png")
    with pytest.raises(DataError, match=r"is 'caf\\xe9' in train and 'cafe\\u0301' in val: they look the same"):
        folder(tmp_path).listing(by_split=True)
    put(tmp_path, f"train/{decomposed}/1.png")
    with pytest.raises(DataError, match=r"train: two class names look the same: 'cafe\\u0301' and 'caf\\xe9'"):
        folder(tmp_path / "train").listing(by_split=False)


def exif(orientation: int, count: int) -> bytes:
    """EXIF data of an orientation and a maker's note, whose value is said to hold `count` bytes that are not there."""
    entries = struct.pack("<HHLHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<HHLL", 0x927C, 7, count, 0xFFFFFF)
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + entries + struct.pack("<L", 0)


@pytest.mark.parametrize("note", [exif(6, 2**31), exif(6, 100)])
def test_a_broken_tag_beside_the_orientation_does_not_matter(note: bytes) -> None:
    plain = np.asarray(decode(encoded("JPEG", quality=95), 3, UPRIGHT))
    turned = np.asarray(decode(encoded("JPEG", quality=95, exif=note), 3, UPRIGHT))
    assert np.array_equal(turned, np.rot90(plain, -1))


def test_a_tag_that_can_not_be_written_again_does_not_matter() -> None:
    # A width that is text: Pillow reads it, and would fail to write it anew.
    entries = struct.pack("<HHLHH", 0x0112, 3, 1, 3, 0) + struct.pack("<HHLL", 0x0100, 2, 1, 0xFF)
    data = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + entries + struct.pack("<L", 0)
    plain = np.asarray(decode(encoded("JPEG", quality=95), 3, UPRIGHT))
    assert np.array_equal(np.asarray(decode(encoded("JPEG", quality=95, exif=data), 3, UPRIGHT)), plain[::-1, ::-1])


def test_exif_that_is_rubbish_turns_nothing() -> None:
    plain = np.asarray(decode(encoded("JPEG"), 3, UPRIGHT))
    assert np.array_equal(np.asarray(decode(encoded("JPEG", exif=b"Exif\0\0rubbish"), 3, UPRIGHT)), plain)


def test_a_png_with_a_large_colour_profile() -> None:
    body = b"profile\0\0" + zlib.compress(bytes(2_000_000))
    chunk = struct.pack(">L", len(body)) + b"iCCP" + body + struct.pack(">L", zlib.crc32(b"iCCP" + body))
    data = encoded("PNG")
    assert np.array_equal(np.asarray(decode(data[:33] + chunk + data[33:], 3, UPRIGHT)), PIXELS)


def test_how_many_pixels_an_image_may_have_is_a_setting() -> None:
    data = encoded("PNG")
    assert decode(data, 3, UPRIGHT, max_pixels=24).size == (6, 4)
    with pytest.raises(BadImageError, match=r"more than 23 pixels: a decompression bomb .*a larger max_pixels"):
        decode(data, 3, UPRIGHT, max_pixels=23)
    with pytest.raises(BadImageError, match="more than 11 pixels"):
        decode(data, 3, UPRIGHT, max_pixels=11)
    Image.MAX_IMAGE_PIXELS, before = 10, Image.MAX_IMAGE_PIXELS
    try:
        assert decode(data, 3, UPRIGHT).size == (6, 4), "what else a process has set is nothing to it"
    finally:
        Image.MAX_IMAGE_PIXELS = before


def test_the_limit_enters_the_key_where_it_is_set() -> None:
    usual = ImageFolderSpec(path="x")
    assert usual.identity() == {"kind": "image_folder", "on_bad": "fail"}
    assert ImageFolderSpec(path="x", max_pixels=10**9).identity() == {**usual.identity(), "max_pixels": 10**9}
