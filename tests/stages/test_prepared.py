"""Prepared data: verified when opened, and told apart from sources that changed afterwards."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from artifacts import store_artifact
from preparing import artifact, dataset, prepare, spoil

from mimflow.data.prepared import Prepared, changed_sources
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.errors import ArtifactError


def test_prepared_data_are_mapped_and_verified(photographs: Path, tmp_path: Path) -> None:
    stored = artifact(dataset(photographs), tmp_path)
    prepared = Prepared.open(stored)
    assert prepared.classes == ["astronaut", "chelsea"]
    train = prepared.split("train")
    assert len(train) == 18
    assert isinstance(train.images, np.memmap)
    assert not train.images.flags.writeable
    assert train.labels.tolist() == [0] * 9 + [1] * 9
    with pytest.raises(ValueError, match="no split 'test': train and val"):
        prepared.split("test")
    spoil(tmp_path / "out" / "val.images.npy")
    with pytest.raises(ArtifactError, match=r"val.images.npy: \d+ bytes, its manifest says"):
        prepared.split("val")


@pytest.mark.fault("images")
def test_changed_sources_are_found(photographs: Path, tmp_path: Path) -> None:
    stored = artifact(dataset(photographs), tmp_path)
    source = ImageFolderSpec(path=str(photographs))
    assert changed_sources(stored, source) == []

    touched = photographs / "train" / "astronaut" / "01.png"
    touched.touch()
    assert changed_sources(stored, source) == [], "touched, but of the same content"

    changed = bytearray(touched.read_bytes())
    changed[50] ^= 1
    before = touched.stat()
    touched.write_bytes(changed)
    os.utime(touched, ns=(before.st_atime_ns, 10**18))
    assert changed_sources(stored, source) == ["train/astronaut/01.png"], "of the same size, and seems old"

    spoil(photographs / "val" / "chelsea" / "09.png")
    (photographs / "train" / "chelsea" / "02.jpg").unlink()
    shutil.copy(photographs / "train" / "chelsea" / "00.jpg", photographs / "train" / "chelsea" / "new.jpg")
    expected = [
        "train/astronaut/01.png", "train/chelsea/02.jpg", "train/chelsea/new.jpg", "val/chelsea/09.png",
    ]  # fmt: skip
    assert changed_sources(stored, source) == expected


def test_old_sources_are_not_read_again(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    """A file that was last touched well before it was listed keeps its digest unread."""
    spec = dataset(photographs)
    facts = prepare(spec, tmp_path)
    later = replace(facts, sources_listed_ns=(facts.sources_listed_ns or 0) + 10 * 10**9)
    stored = store_artifact(tmp_path / "out", stage="prepare", name="photographs", facts=later)
    same_size = bytearray((photographs / "val" / "chelsea" / "09.png").read_bytes())
    same_size[50] ^= 1
    (photographs / "val" / "chelsea" / "09.png").write_bytes(same_size)
    assert changed_sources(stored, ImageFolderSpec(path=str(photographs))) == []


@pytest.mark.fault("images")
def test_skipped_sources_are_watched_too(photographs: Path, tmp_path: Path) -> None:
    bad = photographs / "train" / "chelsea" / "03.png"
    good = bad.read_bytes()
    spoil(bad)
    stored = artifact(dataset(photographs, on_bad="skip"), tmp_path)
    source = ImageFolderSpec(path=str(photographs))
    assert changed_sources(stored, source) == []
    bad.write_bytes(good)
    assert changed_sources(stored, source) == ["train/chelsea/03.png"]


def test_prepared_data_outlive_their_folder(photographs: Path, tmp_path: Path) -> None:
    stored = artifact(dataset(photographs), tmp_path)
    shutil.rmtree(photographs)
    assert changed_sources(stored, ImageFolderSpec(path=str(photographs))) == []
    assert len(Prepared.open(stored).split("train")) == 18
