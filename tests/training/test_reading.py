"""What is read ahead of the step is what would have been read in it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Split
from mimflow.data.spec import Augment
from mimflow.training import batches
from mimflow.training.batches import Shuffled
from mimflow.training.reading import AHEAD, ReadAhead, read

CPU = torch.device("cpu")


@pytest.fixture
def split() -> Split:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 6, 6, 3), np.uint8)
    features = {"vit": generator.standard_normal((40, 4, 5)).astype(np.float16)}
    return Split(images, np.arange(40) % 7, features)


def test_rows_are_those_of_the_split(split: Split) -> None:
    indices = np.array([3, 39, 3, 0])
    batch = read(split, indices).on(CPU)
    # v / 127.5 − 1 in float32, by numpy.
    wanted = split.images[indices].astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert np.array_equal(batch.images.numpy(), wanted.transpose(0, 3, 1, 2)) and batch.images.is_contiguous()
    assert batch.labels.tolist() == [3, 4, 3, 0] and batch.indices.tolist() == [3, 39, 3, 0]
    assert np.array_equal(batch.features["vit"].numpy(), split.features["vit"][indices].astype(np.float32))


def test_every_byte_is_the_same_number_wherever_it_becomes_one(split: Split) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    wanted = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    for images in (every, torch.from_numpy(every)):
        assert np.array_equal(to_unit(images).numpy().reshape(-1), wanted)


def test_parts_come_as_they_are_asked_for_in_any_order(split: Split) -> None:
    ahead = ReadAhead(split, lambda position: np.array([position % 40]), pinned=False)
    for position in (0, 1, 2, 7, 8, 3, 4, 4, 0):
        assert ahead.take(position).indices.tolist() == [position]


def test_those_that_follow_are_read_meanwhile(split: Split) -> None:
    asked: list[int] = []

    def places(position: int) -> np.ndarray:
        asked.append(position)
        return np.array([position])

    ahead = ReadAhead(split, places, pinned=False)
    ahead.take(0)
    assert asked == list(range(AHEAD + 1))
    until = time.monotonic() + 30
    while not all(future.done() for future in ahead._waiting):
        assert time.monotonic() < until
        time.sleep(0.01)
    ahead.take(1)
    assert asked == list(range(AHEAD + 2)), "none twice"


@pytest.mark.parametrize("own", [None, [1, 3]])
def test_a_batch_read_ahead_has_the_bits_of_one_that_is_not(
    split: Split, monkeypatch: pytest.MonkeyPatch, own: list[int] | None
) -> None:
    changes = Augment(flip=True, shift=1)

    def parts() -> list[torch.Tensor]:
        shuffled = Shuffled(split, 8, 4, changes, 5, CPU, own)
        found = []
        for step in (0, 1, 2, 3, 4, 5, 6, 11, 12, 2):  # over the ends of epochs, back and forth
            for part in own or range(4):
                torch.manual_seed(100 * step + part)
                batch = shuffled.part(step, part)
                found += [batch.images, batch.labels, batch.indices, batch.features["vit"], torch.rand(3)]
        return found

    at_once = parts()
    monkeypatch.setattr(batches, "WORTHWHILE", 0)
    assert all(one.equal(other) for one, other in zip(parts(), at_once, strict=True))
