"""MIMFlow's split of images into low and high frequencies."""

from __future__ import annotations

import skimage.data
import torch

from mimflow.nn.frequency import split


def test_a_constant_image_is_low_inside_and_dark_at_the_borders() -> None:
    low, high = split(torch.full((1, 1, 64, 64), 0.8))
    torch.testing.assert_close(low[..., 10:54, 10:54], torch.full((1, 1, 44, 44), 0.8))
    torch.testing.assert_close(high[..., 10:54, 10:54], torch.full((1, 1, 44, 44), 0.5))
    # In a corner 11 × 11 of the window's 21 × 21 pixels lie within the image; zeros count for the others.
    torch.testing.assert_close(low[0, 0, 0, 0], torch.tensor(0.8 * 11 * 11 / 441))
    torch.testing.assert_close(low[0, 0, 0, 32], torch.tensor(0.8 * 11 / 21))
    torch.testing.assert_close(high[0, 0, 0, 0], torch.tensor(1.0))  # 0.8 − 0.22 + 0.5, clamped


def test_the_parts_of_a_photograph_make_it_up_where_nothing_is_clamped() -> None:
    image = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None].double() / 255
    low, high = split(image)
    assert low.shape == high.shape == image.shape
    free = (high > 0) & (high < 1)
    assert float(free.double().mean()) > 0.95
    torch.testing.assert_close((low + high - 0.5)[free], image[free])
    assert float(high.min()) >= 0
    assert float(high.max()) <= 1


def test_each_part_holds_its_frequencies() -> None:
    columns = torch.arange(128, dtype=torch.float64)
    slow, fast = (0.2 * torch.sin(2 * torch.pi * columns / period) for period in (128, 3))
    low, high = split((0.5 + slow + fast).expand(1, 1, 128, 128))
    middle = slice(32, 96)
    torch.testing.assert_close(low[0, 0, 64, middle], 0.5 + slow[middle], atol=0.02, rtol=0)
    torch.testing.assert_close(high[0, 0, 64, middle], 0.5 + fast[middle], atol=0.02, rtol=0)


def test_the_window_is_an_argument() -> None:
    image = torch.rand(1, 3, 9, 9)
    low, _ = split(image, window=1)
    torch.testing.assert_close(low, image)
