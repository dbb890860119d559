"""Stage prepare: results, and faults of the data and the disk."""

from __future__ import annotations

import hashlib
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from preparing import dataset, files, prepare, rows, spoil

from mimflow.data import shards
from mimflow.data.decode import decode
from mimflow.data.spec import Transform
from mimflow.data.transforms import cut
from mimflow.errors import DataError, StorageError

pytestmark = pytest.mark.slow


def test_images_labels_and_index_belong_together(photographs: Path, tmp_path: Path) -> None:
    facts = prepare(dataset(photographs), tmp_path / "work")
    out = tmp_path / "work" / "out"
    assert sorted(files(out)) == [
        "index.csv", "sources.csv", "train.images.npy", "train.labels.npy", "val.images.npy", "val.labels.npy",
    ]  # fmt: skip
    assert facts.classes == ["astronaut", "chelsea"]
    assert facts.images == {"train": 18, "val": 6}
    assert facts.images_by_class == {"train": [9, 9], "val": [3, 3]}
    assert (facts.skipped, facts.skipped_images) == (0, [])
    index = rows(out / "index.csv")
    assert list(index[0]) == ["split", "index", "label", "class", "source"]
    for split in ("train", "val"):
        images, labels = np.load(out / f"{split}.images.npy"), np.load(out / f"{split}.labels.npy")
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        listed = [row for row in index if row["split"] == split]
        assert [int(row["index"]) for row in listed] == list(range(len(images)))
        assert [int(row["label"]) for row in listed] == labels.tolist()
        for image, row in zip(images, listed, strict=True):
            assert row["class"] in row["source"]
            decoded = decode((photographs / row["source"]).read_bytes(), 3, Transform(size=16))
            assert np.array_equal(image, cut(decoded, Transform(size=16, method="adm")))


def test_sources_are_recorded_with_their_digests(photographs: Path, tmp_path: Path) -> None:
    prepare(dataset(photographs), tmp_path)
    recorded = rows(tmp_path / "out" / "sources.csv")
    assert len(recorded) == 24
    for row in recorded:
        content = (photographs / row["path"]).read_bytes()
        assert (int(row["size"]), row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert row["problem"] == ""


def test_a_stratified_split_of_a_folder(photographs: Path, tmp_path: Path) -> None:
    facts = prepare(dataset(photographs / "train", split={"kind": "stratified", "val": 4}), tmp_path)
    assert facts.images_by_class == {"train": [7, 7], "val": [2, 2]}
    names = [row["source"] for row in rows(tmp_path / "out" / "index.csv")]
    assert len(set(names)) == 18


def test_digits_from_their_package(tmp_path: Path) -> None:
    spec = dataset(
        tmp_path, source={"kind": "digits"}, transform={"size": 12, "method": "pad"}, channels=1, num_classes=10,
        split={"kind": "stratified", "val": 297},
    )  # fmt: skip
    facts = prepare(spec, tmp_path)
    assert facts.images == {"train": 1500, "val": 297}
    images = np.load(tmp_path / "out" / "train.images.npy")
    assert images.shape == (1500, 12, 12, 1)
    assert images[:, :2].max() == 0
    assert images.max() == 255
    assert not (tmp_path / "out" / "sources.csv").exists()


@pytest.mark.slow
def test_processes_and_shards_do_not_change_a_byte(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(dataset(photographs), tmp_path / "one")
    monkeypatch.setattr(shards, "SHARD_IMAGES", 5)
    prepare(dataset(photographs, workers=2), tmp_path / "two")
    assert len(list((tmp_path / "two" / "rows").glob("*.pieces/*"))) == 6
    assert files(tmp_path / "one" / "out") == files(tmp_path / "two" / "out")


def test_shards_are_bounded_in_bytes(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shards, "PIECE_BYTES", 3 * 16 * 16 * 3)
    prepare(dataset(photographs), tmp_path)
    assert len(list((tmp_path / "rows").glob("*.pieces/*"))) == 18 / 3 + 6 / 3


# Faults


@pytest.mark.fault("images")
@pytest.mark.parametrize("count", [1, 2])
def test_a_bad_image_stops_and_is_named(photographs: Path, tmp_path: Path, monkeypatch, count: int) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 5)
    spoil(photographs / "train" / "chelsea" / "03.png")
    with pytest.raises(DataError, match=r"photographs/train/chelsea/03.png: can't be decoded: .*") as caught:
        prepare(dataset(photographs, workers=count), tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.fault("images")
def test_a_link_that_leads_nowhere_is_a_bad_image(photographs: Path, tmp_path: Path) -> None:
    (photographs / "val" / "chelsea" / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=r"val/chelsea/gone.png: can't be opened: No such file"):
        prepare(dataset(photographs), tmp_path)


@pytest.mark.fault("images")
def test_a_link_to_itself_and_a_file_that_cannot_be_opened_are_bad_images(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photographs / "val" / "chelsea" / "loop.png").symlink_to("loop.png")
    closed = photographs / "train" / "chelsea" / "03.png"
    read_bytes = Path.read_bytes

    def refuse(self: Path) -> bytes:  # as for any user but root
        if self == closed:
            raise PermissionError(13, "Permission denied", str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    facts = prepare(dataset(photographs, on_bad="skip"), tmp_path / "work")
    assert [(bad.name, bad.problem) for bad in facts.skipped_images] == [
        ("train/chelsea/03.png", "can't be opened: Permission denied"),
        ("val/chelsea/loop.png", "can't be opened: Too many levels of symbolic links"),
    ]
    with pytest.raises(DataError, match=r"chelsea/03.png: can't be opened: Permission denied"):
        prepare(dataset(photographs), tmp_path / "strict")


@pytest.mark.fault("images")
def test_bad_images_are_skipped_and_counted_where_the_spec_says_so(photographs: Path, tmp_path: Path) -> None:
    prepare(dataset(photographs), tmp_path / "whole")
    spoil(photographs / "train" / "astronaut" / "01.png")
    (photographs / "val" / "chelsea" / "10.jpg").write_text("not an image")
    facts = prepare(dataset(photographs, on_bad="skip"), tmp_path / "work")
    assert facts.skipped == 2
    assert [bad.name for bad in facts.skipped_images] == ["train/astronaut/01.png", "val/chelsea/10.jpg"]
    assert facts.skipped_images[1].problem == "not a PNG, JPEG, WebP, BMP or TIFF image"
    assert facts.images_by_class == {"train": [8, 9], "val": [3, 2]}
    out, whole = tmp_path / "work" / "out", tmp_path / "whole" / "out"
    for split, row in (("train", 1), ("val", 4)):
        for kind in ("images", "labels"):
            expected = np.delete(np.load(whole / f"{split}.{kind}.npy"), row, axis=0)
            assert np.array_equal(np.load(out / f"{split}.{kind}.npy"), expected)
    problems = {row["path"]: row["problem"] for row in rows(out / "sources.csv") if row["problem"]}
    assert set(problems) == {"train/astronaut/01.png", "val/chelsea/10.jpg"}


@pytest.mark.fault("images")
def test_many_skipped_images_are_all_counted_and_some_named(photographs: Path, tmp_path: Path) -> None:
    for index in range(30):
        (photographs / "train" / "chelsea" / f"bad{index}.png").touch()
    facts = prepare(dataset(photographs, on_bad="skip"), tmp_path)
    assert facts.skipped == 30
    assert len(facts.skipped_images) == 20


@pytest.mark.fault("images")
def test_skipping_all_images_of_a_class_is_refused(photographs: Path, tmp_path: Path) -> None:
    for path in (photographs / "train" / "chelsea").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class 'chelsea': none of its images for training can be read"):
        prepare(dataset(photographs, on_bad="skip"), tmp_path)


@pytest.mark.fault("images")
def test_skipping_all_of_val_is_refused(photographs: Path, tmp_path: Path) -> None:
    for path in (photographs / "val").rglob("*.*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the images for validation can be read"):
        prepare(dataset(photographs, on_bad="skip"), tmp_path)


def test_an_image_that_does_not_fit_is_named(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"astronaut/00.jpg: 40×32 pixels, method 'none' needs 16×16"):
        prepare(dataset(photographs, transform={"size": 16, "method": "none"}), tmp_path)


def test_faults_are_found_before_any_image_is_read(photographs: Path, tmp_path: Path) -> None:
    stratified = {"kind": "stratified", "val": 24}
    cases = [
        (dataset(photographs, num_classes=3), "num_classes: 3, but the source has 2 classes: astronaut, chelsea"),
        (dataset(tmp_path / "nowhere"), r"nowhere: no such folder \(expected .*nowhere/train/<class>/<image>"),
        (dataset(photographs, split=stratified), "stratified takes the folders train and val for classes"),
        (dataset(photographs / "train", split=stratified), "split.val: 24 of the source's 18 images leave none"),
    ]
    for spec, message in cases:
        with pytest.raises(DataError, match=message):
            prepare(spec, tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.fault("memory and disks")
def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    spec = dataset(
        tmp_path, source={"kind": "digits"}, transform={"size": 8}, channels=1, num_classes=10,
        split={"kind": "stratified", "val": 297},
    )  # fmt: skip
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match=r"images.npy: can't write: File too large") as caught:
            prepare(spec, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 5
    assert prepare(spec, tmp_path).images == {"train": 1500, "val": 297}


@pytest.mark.fault("memory and disks")
def test_too_little_space_is_said_before_the_work(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    almost_full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: almost_full)
    with pytest.raises(StorageError, match=r"0.0 GB are needed, 0.0 GB are free"):
        prepare(dataset(photographs), tmp_path)


@pytest.mark.fault("places")
def test_a_file_system_without_links_is_no_obstacle(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    prepare(dataset(photographs), tmp_path / "linked")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    prepare(dataset(photographs), tmp_path / "moved")
    assert files(tmp_path / "moved" / "out") == files(tmp_path / "linked" / "out")
