"""Stage prepare: results, faults of the data, interruption, and sources that change afterwards."""

from __future__ import annotations

import csv
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from artifacts import store_artifact
from PIL import Image

from mimflow.artifacts.data import DataFacts
from mimflow.artifacts.manifest import Artifact
from mimflow.data import shards, workers
from mimflow.data.decode import decode
from mimflow.data.prepared import Prepared, changed_sources
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.data.spec import DatasetSpec, Transform
from mimflow.data.transforms import cut
from mimflow.errors import ArtifactError, DataError, OutOfMemoryError, StorageError
from mimflow.progress import Progress
from mimflow.stages.prepare import run
from mimflow.tasks import PrepareTask

PHOTOGRAPHS = {"astronaut": skimage.data.astronaut(), "chelsea": skimage.data.chelsea()}
REPOSITORY = Path(__file__).parents[2]
PREPARE = "from test_prepare import main; main()"


def crops(photograph: np.ndarray, count: int) -> Iterator[Image.Image]:
    """Crops of 40×32 pixels that don't overlap."""
    across = photograph.shape[1] // 40
    for index in range(count):
        top, left = 32 * (index // across), 40 * (index % across)
        yield Image.fromarray(photograph[top : top + 32, left : left + 40])


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes, 9 images each in train and 3 in val, half of them PNG and half JPEG."""
    root = tmp_path / "photographs"
    for name, photograph in PHOTOGRAPHS.items():
        for index, image in enumerate(crops(photograph, 12)):
            split = "train" if index < 9 else "val"
            kind = "png" if index % 2 else "jpg"
            (root / split / name).mkdir(parents=True, exist_ok=True)
            image.save(root / split / name / f"{index:02}.{kind}")
    return root


def dataset(path: Path, *, on_bad: str = "fail", **changes: Any) -> DatasetSpec:
    spec = {
        "source": {"kind": "image_folder", "path": str(path), "on_bad": on_bad},
        "transform": {"size": 16, "method": "adm"},
        "split": {"kind": "folders"},
        "channels": 3,
        "num_classes": 2,
        "workers": 1,
    }
    return DatasetSpec.model_validate(spec | changes)


def prepare(spec: DatasetSpec, work: Path, said: StringIO | None = None) -> DataFacts:
    return run(PrepareTask(dataset=spec), {}, work, Progress("test", stream=said or StringIO()))


def files(folder: Path) -> dict[str, str]:
    """The digest of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def artifact(spec: DatasetSpec, work: Path) -> Artifact:
    facts = prepare(spec, work)
    return store_artifact(work / "out", stage="prepare", name="photographs", facts=facts)


def main() -> None:
    """Prepare in a process of its own: `path work workers images-per-shard stop-after`."""
    path, work = (Path(argument) for argument in sys.argv[1:3])
    count, shards.SHARD_IMAGES, stop = map(int, sys.argv[3:])
    progress = Progress("test")
    advance = progress.advance

    def until_killed(done: int, *arguments: Any, **shown: Any) -> None:
        advance(done, *arguments, **shown)
        if done >= stop:
            os.kill(os.getpid(), signal.SIGKILL)

    progress.advance = until_killed  # type: ignore[method-assign]
    run(PrepareTask(dataset=dataset(path, workers=count)), {}, work, progress)


def killed(path: Path, work: Path, count: int, images: int, stop: int) -> None:
    """Prepare in another process, that is killed once so many images are done.

    Its output is read to the end, which comes only when its workers have ended as well.
    """
    command = [sys.executable, "-c", PREPARE, str(path), str(work), str(count), str(images), str(stop)]
    places = os.pathsep.join(map(str, [REPOSITORY, REPOSITORY / "tests" / "support", Path(__file__).parent]))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


# Results


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
            decoded = decode((photographs / row["source"]).read_bytes(), 3)
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


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize("count", [1, 2])
def test_a_bad_image_stops_and_is_named(photographs: Path, tmp_path: Path, monkeypatch, count: int) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 5)
    spoil(photographs / "train" / "chelsea" / "03.png")
    with pytest.raises(DataError, match=r"photographs/train/chelsea/03.png: can't be decoded: .*") as caught:
        prepare(dataset(photographs, workers=count), tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_link_that_leads_nowhere_is_a_bad_image(photographs: Path, tmp_path: Path) -> None:
    (photographs / "val" / "chelsea" / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=r"val/chelsea/gone.png: can't be opened: No such file"):
        prepare(dataset(photographs), tmp_path)


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


def test_many_skipped_images_are_all_counted_and_some_named(photographs: Path, tmp_path: Path) -> None:
    for index in range(30):
        (photographs / "train" / "chelsea" / f"bad{index}.png").touch()
    facts = prepare(dataset(photographs, on_bad="skip"), tmp_path)
    assert facts.skipped == 30
    assert len(facts.skipped_images) == 20


def test_skipping_all_images_of_a_class_is_refused(photographs: Path, tmp_path: Path) -> None:
    for path in (photographs / "train" / "chelsea").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class 'chelsea': none of its images for training can be read"):
        prepare(dataset(photographs, on_bad="skip"), tmp_path)


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


def test_too_little_space_is_said_before_the_work(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    almost_full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: almost_full)
    with pytest.raises(StorageError, match=r"0.0 GB are needed, 0.0 GB are free"):
        prepare(dataset(photographs), tmp_path)


def test_a_file_system_without_links_is_no_obstacle(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    prepare(dataset(photographs), tmp_path / "linked")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    prepare(dataset(photographs), tmp_path / "moved")
    assert files(tmp_path / "moved" / "out") == files(tmp_path / "linked" / "out")


# Interruption


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


# Afterwards


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
