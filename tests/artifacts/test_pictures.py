"""Pictures of images, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimflow.artifacts.pictures import enlarge, fit, lay_out, write_png


def tile(value: int, height: int = 1, width: int = 1, channels: int = 1) -> np.ndarray:
    return np.full((height, width, channels), value, np.uint8)


def test_tiles_stand_in_lines_with_two_white_pixels_between() -> None:
    picture = lay_out([tile(10), tile(20), tile(30)], across=2)
    assert picture.shape == (4, 4, 3)
    assert picture[..., 0].tolist() == [[10, 255, 255, 20], [255] * 4, [255] * 4, [30, 255, 255, 255]]
    assert (picture == picture[..., :1]).all()


def test_a_margin_is_white_and_around_it_all() -> None:
    picture = lay_out([tile(0, 2, 3, 3)], across=5, margin=2)
    assert picture.shape == (6, 7, 3)
    assert (picture[2:4, 2:5] == 0).all()
    assert int((picture == 255).all(2).sum()) == 6 * 7 - 2 * 3


def test_colours_stay(tmp_path: Path) -> None:
    red = np.array([[[200, 0, 0]]], np.uint8)
    write_png(tmp_path / "red.png", lay_out([red, tile(7)], across=2))
    with Image.open(tmp_path / "red.png") as picture:
        assert picture.mode == "RGB" and picture.size == (4, 1)
        assert [picture.getpixel((x, 0)) for x in range(4)] == [(200, 0, 0), *[(255, 255, 255)] * 2, (7, 7, 7)]


def test_enlarging_makes_squares_of_pixels() -> None:
    image = np.array([[[1], [2]]], np.uint8)
    assert enlarge(image, 2)[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("size", "shown"), [((8, 8), (64, 64)), ((28, 28), (56, 56)), ((100, 100), (100, 100)), ((256, 128), (128, 64))]
)
def test_images_fit_by_a_whole_factor_or_are_scaled_down(size: tuple[int, int], shown: tuple[int, int]) -> None:
    fitted = fit(tile(9, *size), least=64, most=128)
    assert fitted.shape == (*shown, 3)
    assert (fitted == 9).all()
