"""Stage prepare goes on after kills, torn files and changed sources."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from preparing import dataset, files, killed, prepare, spoil

from mimflow.data import shards, workers
from mimflow.errors import DataError, OutOfMemoryError

pytestmark = pytest.mark.fault("work in progress")


def watched(monkeypatch: pytest.MonkeyPatch) -> list[shards.Shard]:
    """The shards that are done from now on, in this process."""
    done: list[shards.Shard] = []

    def write(recipe: shards.Recipe, shard: shards.Shard) -> list[shards.Reading]:
        done.append(shard)
        return shards.write_shard(recipe, shard)

    monkeypatch.setattr(workers, "write_shard", write)
    monkeypatch.setattr(shards, "SHARD_IMAGES", 4)
    return done


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.slow
def test_a_killed_preparation_goes_on_and_ends_the_same(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    prepare(dataset(photographs), tmp_path / "whole")
    killed(photographs, tmp_path / "work", count, images=4, stop=12)
    assert not (tmp_path / "work" / "out").exists()
    done = watched(monkeypatch)
    said = StringIO()
    prepare(dataset(photographs), tmp_path / "work", said)
    assert files(tmp_path / "work" / "out") == files(tmp_path / "whole" / "out")
    # Three of seven shards were done when it was killed; two processes may have done more before they ended.
    assert len(done) == 4 if count == 1 else len(done) <= 4
    assert "of 24 images are ready from an earlier attempt" in said.getvalue()


def test_an_attempt_that_was_complete_is_not_done_again(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process ends before the store has the folder."""
    done = watched(monkeypatch)
    for on_bad in ("fail", "skip"):
        if on_bad == "skip":
            spoil(photographs / "train" / "chelsea" / "03.png")
        work = tmp_path / on_bad
        facts = prepare(dataset(photographs, on_bad=on_bad), work)
        before = files(work / "out")
        done.clear()
        shutil.rmtree(work / "out")
        again = prepare(dataset(photographs, on_bad=on_bad), work)
        assert not done
        assert files(work / "out") == before
        assert replace(facts, sources_listed_ns=0) == replace(again, sources_listed_ns=0)


def test_a_shard_with_a_flipped_byte_is_done_again(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = watched(monkeypatch)
    prepare(dataset(photographs), tmp_path)
    whole = files(tmp_path / "out")
    images = tmp_path / "out" / "train.images.npy"
    data = bytearray(images.read_bytes())
    data[-1] ^= 1
    images.write_bytes(data)
    done.clear()
    prepare(dataset(photographs), tmp_path)
    assert [shard.place for shard in done] == [("train", 16)]
    assert files(tmp_path / "out") == whole


@pytest.mark.parametrize("content", ["", "{", '{"sha256": "'])
def test_a_torn_record_is_done_again(photographs: Path, tmp_path: Path, monkeypatch, content: str) -> None:
    done = watched(monkeypatch)
    prepare(dataset(photographs), tmp_path)
    (tmp_path / "rows" / "val.images.pieces" / "00000004.json").write_text(content)
    done.clear()
    prepare(dataset(photographs), tmp_path)
    assert [shard.place for shard in done] == [("val", 4)]


def test_torn_images_are_done_again(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    done = watched(monkeypatch)
    prepare(dataset(photographs), tmp_path)
    whole = files(tmp_path / "out")
    images = tmp_path / "out" / "val.images.npy"
    images.write_bytes(images.read_bytes()[:-100])
    done.clear()
    prepare(dataset(photographs), tmp_path)
    assert {shard.split for shard in done} == {"val"}
    assert files(tmp_path / "out") == whole


def test_a_bad_image_that_was_put_right_costs_only_its_shard(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = watched(monkeypatch)
    bad = photographs / "train" / "chelsea" / "03.png"
    good = bad.read_bytes()
    prepare(dataset(photographs), tmp_path / "whole")
    spoil(bad)
    with pytest.raises(DataError, match=r"03.png"):
        prepare(dataset(photographs), tmp_path / "work")
    bad.write_bytes(good)
    done.clear()
    prepare(dataset(photographs), tmp_path / "work")
    assert [shard.place for shard in done] == [("train", 12), ("train", 16), ("val", 0), ("val", 4)]
    assert files(tmp_path / "work" / "out") == files(tmp_path / "whole" / "out")


def test_a_file_that_the_store_has_is_never_written(photographs: Path, tmp_path: Path) -> None:
    prepare(dataset(photographs), tmp_path / "work")
    (tmp_path / "work" / "out").rename(tmp_path / "store")
    before = files(tmp_path / "store")
    shutil.copy(photographs / "val" / "astronaut" / "09.png", photographs / "val" / "astronaut" / "11.png")
    prepare(dataset(photographs), tmp_path / "work")
    assert files(tmp_path / "store") == before
    assert files(tmp_path / "work" / "out") != before


def test_a_source_that_changed_between_attempts_is_read_again(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = watched(monkeypatch)
    prepare(dataset(photographs), tmp_path)
    shutil.copy(photographs / "val" / "astronaut" / "09.png", photographs / "val" / "astronaut" / "11.png")
    done.clear()
    prepare(dataset(photographs), tmp_path)
    assert [shard.place for shard in done] == [("val", 0)]
    images = np.load(tmp_path / "out" / "val.images.npy")
    assert np.array_equal(images[0], images[2])


def test_an_image_added_between_attempts_is_found(photographs: Path, tmp_path: Path) -> None:
    prepare(dataset(photographs), tmp_path / "work")
    shutil.copy(photographs / "val" / "chelsea" / "09.png", photographs / "val" / "astronaut" / "00.png")
    prepare(dataset(photographs), tmp_path / "work")
    prepare(dataset(photographs), tmp_path / "afresh")
    assert files(tmp_path / "work" / "out") == files(tmp_path / "afresh" / "out")


def die(shard: shards.Shard) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_ended_from_outside_is_explained(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 4)
    monkeypatch.setattr(workers, "_write", die)
    with pytest.raises(OutOfMemoryError, match=r"ended from outside.* try fewer workers than 2"):
        prepare(dataset(photographs, workers=2), tmp_path)
