"""A data set of files is pinned: another folder is a message before anything runs, and enters the key."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from photographs import write_photographs
from projects import cli, new_project

from mimflow.artifacts.manifest import sha256_of
from mimflow.data import prepared
from mimflow.data.pins import content_digest, listing_digest
from mimflow.errors import DataError, SpecError
from mimflow.plan.pins import require_pinned
from mimflow.products.registry import open_plan

DATASET = """\
source: {kind: image_folder, path: data/photographs}
transform: {size: 8, method: bilinear}
split: {kind: folders}
channels: 3
num_classes: 3
workers: 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = new_project(tmp_path / "project")
    write_photographs(project / "data/photographs", train=4, val=2)
    (project / "specs/datasets/photographs.yaml").write_text(DATASET)
    return project


def lock(project: Path, *words: str) -> str:
    return cli(project, "data", "lock", *words)


def key(project: Path) -> str:
    return open_plan(project).job("photographs", "prepare").key


def require(project: Path) -> None:
    plan = open_plan(project)
    require_pinned(plan, [plan.job("photographs", "prepare")])


def test_the_digests_are_of_sorted_lines() -> None:
    assert listing_digest([("b.png", 20), ("a.png", 3)]) == hashlib.sha256(b"a.png\x003\nb.png\x0020\n").hexdigest()
    assert content_digest([("a.png", "ff")]) == hashlib.sha256(b"a.png\x00ff\n").hexdigest()


def test_a_folder_that_is_not_pinned_is_refused(project: Path) -> None:
    with pytest.raises(
        DataError, match=r"not pinned yet \(`mimflow data lock photographs` writes specs/datasets/photo"
    ):
        require(project)


@pytest.mark.slow
def test_a_pinned_folder_is_let_through_and_a_changed_one_is_not(project: Path) -> None:
    assert "specs/datasets/photographs.lock: 18 images, " in lock(project)
    require(project)
    images = sorted((project / "data/photographs/train/coffee").iterdir())
    images[0].rename(images[0].with_name("another.jpg"))
    with pytest.raises(DataError, match=r"holds 18 images of .* 18 of .* are pinned .*`mimflow data lock photographs`"):
        require(project)
    (images[0].with_name("another.jpg")).unlink()
    with pytest.raises(DataError, match=r"holds 17 images of .* 18 of"):
        require(project)
    cli(project, "plan", "table1")  # a table on other data has nothing to do with it


@pytest.mark.slow
def test_locking_again_makes_what_depends_on_it_stale(project: Path) -> None:
    lock(project)
    before = key(project)
    assert lock(project).rstrip().endswith("unchanged") and key(project) == before
    image = project / "data/photographs/val/coffee/000.jpg"
    data = bytearray(image.read_bytes())
    data[-3] ^= 1
    image.write_bytes(data)
    assert key(project) == before
    assert lock(project).rstrip().endswith("changed: what depends on it is stale")
    assert key(project) != before


@pytest.mark.slow
def test_names_only_takes_no_contents(project: Path) -> None:
    lock(project, "--names-only")
    pin = json.loads((project / "specs/datasets/photographs.lock").read_text())
    assert pin["content"] is None and pin["images"] == 18
    assert pin["bytes"] == sum(path.stat().st_size for path in (project / "data").rglob("*.*"))
    sizes = [
        (path.relative_to(project / "data/photographs").as_posix(), path.stat().st_size)
        for path in (project / "data/photographs").rglob("*.*")
    ]
    assert pin["listing"] == listing_digest(sizes)


@pytest.mark.slow
def test_an_image_that_changed_after_it_was_prepared_is_named(project: Path) -> None:
    lock(project)
    cli(project, "prepare", "photographs")
    require(project)
    image = project / "data/photographs/val/coffee/001.jpg"
    data = bytearray(image.read_bytes())
    data[-3] ^= 1
    image.write_bytes(data)
    with pytest.raises(DataError, match=r"changed after it was prepared: val/coffee/001\.jpg \(put the images back"):
        require(project)


@pytest.mark.slow
def test_images_that_were_touched_are_read_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(project)
    cli(project, "prepare", "photographs")
    read: list[Path] = []
    monkeypatch.setattr(prepared, "sha256_of", lambda path: (read.append(path), sha256_of(path))[1])
    image = project / "data/photographs/val/coffee/001.jpg"
    for time in (10**18 * 2, 10**18 * 3):  # in the future: after it was prepared, whatever the clock says
        os.utime(image, ns=(time, time))
        require(project)
        require(project)
    assert len(read) % 2 == 0 and [path.name for path in read].count("001.jpg") >= 2
    count = len(read)
    require(project)
    assert len(read) == count


@pytest.mark.slow
def test_another_copy_has_the_same_key(project: Path) -> None:
    lock(project)
    before = key(project)
    (project / "data/photographs").rename(project / "data/elsewhere")
    path = project / "specs/datasets/photographs.yaml"
    path.write_text(path.read_text().replace("data/photographs", "data/elsewhere"))
    require(project)
    assert key(project) == before


@pytest.mark.slow
def test_a_folder_that_is_not_here_plans(project: Path) -> None:
    (project / "data/photographs").rename(project / "data/away")
    require(project)
    assert lock(project) == "no data set of a folder that is here\n"


@pytest.mark.slow
def test_a_broken_pin_is_one_line(project: Path) -> None:
    (project / "specs/datasets/photographs.lock").write_text("[]")
    wanted = r"photographs\.lock:1:1: not a pin of a data set \(`mimflow data lock photographs` writes it\)"
    with pytest.raises(SpecError, match=wanted):
        cli(project, "plan", "table1")


@pytest.mark.slow
def test_preparing_refuses_other_contents_than_are_pinned(project: Path) -> None:
    lock(project)
    image = project / "data/photographs/val/coffee/001.jpg"
    data = bytearray(image.read_bytes())
    data[-3] ^= 1
    image.write_bytes(data)
    with pytest.raises(DataError, match="data/photographs: its images are not those that are pinned"):
        cli(project, "prepare", "photographs")
