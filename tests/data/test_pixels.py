"""Pixels to networks' range and back, and random changes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimflow.data.augment import augment
from mimflow.data.pixels import to_uint8, to_unit
from mimflow.data.spec import Augment
from mimflow.errors import NotFiniteError

EVERY_VALUE = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1)


def test_black_is_minus_one_and_white_is_one() -> None:
    unit = to_unit(np.array([[[[0], [51], [255]]]], np.uint8))
    assert unit.shape == (1, 1, 1, 3)
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit.flatten(), torch.tensor([-1.0, -0.6, 1.0]))


def test_channels_come_first() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    unit = to_unit(images)
    assert unit.is_contiguous()
    assert unit[1, 2, 0, 3].item() == pytest.approx(images[1, 0, 3, 2] / 127.5 - 1)


def test_read_only_memory_maps_can_be_read(tmp_path) -> None:
    np.save(tmp_path / "images.npy", EVERY_VALUE)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    to_unit(images[:1]).zero_()
    assert np.array_equal(images, EVERY_VALUE)


def test_no_images_are_an_empty_batch() -> None:
    assert to_unit(np.zeros((0, 4, 4, 3), np.uint8)).shape == (0, 3, 4, 4)


def test_rounding_inverts_to_unit() -> None:
    assert np.array_equal(to_uint8(to_unit(EVERY_VALUE), "round"), EVERY_VALUE)


def test_truncation_is_downwards_and_rounding_to_the_nearest() -> None:
    levels = torch.tensor([0.25, 0.75, 100.25, 100.75, 254.75])
    images = (levels / 127.5 - 1).reshape(1, 1, 1, 5)
    assert to_uint8(images, "round").flatten().tolist() == [0, 1, 100, 101, 255]
    assert to_uint8(images, "truncate").flatten().tolist() == [0, 0, 100, 100, 254]


def test_values_beyond_the_range_are_clamped() -> None:
    images = torch.tensor([-7.0, 1.01, 300.0]).reshape(1, 3, 1, 1)
    assert to_uint8(images, "round").tolist() == [[[[0, 255, 255]]]]
    assert to_uint8(images, "truncate").tolist() == [[[[0, 255, 255]]]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(value: float) -> None:
    images = torch.zeros(3, 1, 2, 2)
    images[1, 0, 1, 1] = value
    with pytest.raises(NotFiniteError, match="1 of 3 images hold values that are not finite"):
        to_uint8(images, "round")


def some_images(batch: int = 64) -> torch.Tensor:
    return torch.rand(batch, 3, 6, 5, generator=torch.Generator().manual_seed(0))


def test_without_augmentation_images_stay_and_nothing_is_drawn() -> None:
    before = torch.get_rng_state()
    assert torch.equal(augment(some_images(), Augment()), some_images())
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_follows_the_default_generators_seed() -> None:
    spec = Augment(flip=True, shift=2)
    torch.manual_seed(3)
    first = augment(some_images(), spec)
    assert not torch.equal(augment(some_images(), spec), first)
    torch.manual_seed(3)
    assert torch.equal(augment(some_images(), spec), first)


def test_about_half_of_the_images_are_mirrored_and_the_others_are_not() -> None:
    torch.manual_seed(0)
    images = some_images()
    made = augment(images, Augment(flip=True))
    same = (made == images).flatten(1).all(1)
    mirrored = (made == images.flip(3)).flatten(1).all(1)
    assert torch.all(same ^ mirrored)
    assert 16 < mirrored.sum() < 48


def test_shifts_move_each_image_by_its_own_steps_and_repeat_the_edge() -> None:
    torch.manual_seed(0)
    images = some_images()
    made = augment(images, Augment(shift=1))
    edged = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    windows = torch.stack([edged[:, :, y : y + 6, x : x + 5] for y in range(3) for x in range(3)])
    matches = (windows == made).flatten(2).all(2)
    assert torch.all(matches.sum(0) == 1)
    assert torch.all(matches.any(1)), "all nine positions occur"


def test_a_shift_beyond_the_image_leaves_its_edge() -> None:
    torch.manual_seed(1)
    made = augment(some_images(200)[:, :, :1], Augment(shift=40))
    assert made.shape == (200, 3, 1, 5)
    assert torch.isfinite(made).all()
