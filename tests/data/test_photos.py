"""Crops of photographs: real pixels, and none in both train and val."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from mimflow.data.decode import decode
from mimflow.data.registry import SOURCES
from mimflow.data.sources.base import Source
from mimflow.data.sources.spec import PHOTO_AREA, PhotosSpec
from mimflow.data.spec import DatasetSpec, Transform
from mimflow.data.split import assign
from mimflow.progress import Progress
from mimflow.spec.base import all_problems
from mimflow.spec.compose import load
from mimflow.spec.validate import build
from mimflow.stages.prepare import run
from mimflow.tasks import PrepareTask

FOLDER = Path(__file__).parents[2] / "specs" / "datasets"


@pytest.fixture(scope="module")
def datasets() -> dict[str, DatasetSpec]:
    return {name: build(DatasetSpec, load(FOLDER / f"{name}.yaml", FOLDER), {})[0] for name in ("photos", "photos64")}


def source(dataset: DatasetSpec) -> Source:
    return SOURCES.build(dataset.source)


@pytest.mark.parametrize(("name", "train", "val"), [("photos", 289, 85), ("photos64", 225, 45)])
@pytest.mark.slow
def test_every_class_has_the_same_number_of_crops(datasets, name: str, train: int, val: int) -> None:
    listing = source(datasets[name]).listing(by_split=True)
    assert len(listing.classes) == datasets[name].num_classes == 17
    counts = Counter((item.split, item.label) for item in listing.items)
    assert counts == {(split, label): n for split, n in (("train", train), ("val", val)) for label in range(17)}
    assert len({item.name for item in listing.items}) == len(listing.items)


@pytest.mark.parametrize("name", ["photos", "photos64"])
def test_train_and_val_share_no_pixel(datasets, name: str) -> None:
    spec = datasets[name].source
    covered = {split: np.zeros((17, *PHOTO_AREA), bool) for split in ("train", "val")}
    listing = source(datasets[name]).listing(by_split=True)
    for split, items in assign(listing, datasets[name].split).items():
        for item in items:
            row, column = (int(part) for part in item.name.split("/")[1].split("-"))
            assert row + spec.crop <= PHOTO_AREA[0]
            assert column + spec.crop <= PHOTO_AREA[1]
            covered[split][item.label, row : row + spec.crop, column : column + spec.crop] = True
    assert not (covered["train"] & covered["val"]).any()
    assert covered["train"].mean() > 0.7
    assert covered["val"].mean() > 0.2


def test_crops_are_what_the_photographs_show(datasets) -> None:
    photos = source(datasets["photos"])
    items = {item.name: item for item in photos.listing(by_split=True).items}
    chelsea = skimage.data.chelsea()  # 300 × 451: 33 columns are left out on the left
    np.testing.assert_array_equal(photos.fetch(items["chelsea/016-048"]), chelsea[16:48, 33 + 48 : 33 + 80])
    camera = photos.fetch(items["camera/000-288"])  # 512 × 512, grey
    np.testing.assert_array_equal(camera, np.repeat(skimage.data.camera()[106:138, 352:384, None], 3, axis=2))
    assert items["camera/000-288"].split == "val"
    assert np.asarray(decode(camera, 1, Transform(size=32))).shape == (32, 32)
    assert photos.where(items["chelsea/016-048"]) == "photos, chelsea, row 16, column 48 of the part that is used"


def test_no_two_photographs_are_the_same(datasets) -> None:
    photos = source(datasets["photos64"])
    listing = photos.listing(by_split=True)
    firsts = {item.label: photos.fetch(item).tobytes() for item in listing.items}
    assert len(set(firsts.values())) == 17


@pytest.mark.slow
def test_they_are_prepared_by_region(datasets, tmp_path: Path) -> None:
    facts = run(PrepareTask(dataset=datasets["photos"]), {}, tmp_path, Progress("test", stream=StringIO()))
    assert facts.images == {"train": 4913, "val": 1445}
    assert facts.split == "regions"
    images = np.load(tmp_path / "out" / "train.images.npy")
    assert images.shape == (4913, 32, 32, 3)
    first = source(datasets["photos"]).listing(by_split=True).items[0]
    np.testing.assert_array_equal(images[0], source(datasets["photos"]).fetch(first))


def dataset(**changes: object) -> DatasetSpec:
    fields = {
        "source": {"kind": "photos", "crop": 32, "stride": 16},
        "transform": {"size": 32},
        "split": {"kind": "regions"},
        "channels": 3,
        "num_classes": 17,
    }
    return DatasetSpec.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"split": {"kind": "stratified", "val": 9}}, ("split", "kind"), "images of source 'photos' overlap"),
        ({"split": {"kind": "folders"}}, ("split", "kind"), "source 'photos' has no train and val folders"),
        ({"source": {"kind": "digits"}}, ("split", "kind"), "source 'digits' has no regions"),
        ({"transform": {"size": 64}}, ("transform", "size"), "64, but images of 'photos' have 32 pixels a side"),
        (
            {"source": {"kind": "photos", "crop": 301, "stride": 16}, "transform": {"size": 301}},
            ("source", "crop"),
            "301 pixels, more than the 300 rows of a photograph",
        ),
        (
            {"source": {"kind": "photos", "crop": 32, "stride": 16, "val": 0.05}},
            ("source", "val"),
            "0.05 leaves 19 columns for validation, less than a crop of 32",
        ),
        (
            {"source": {"kind": "photos", "crop": 32, "stride": 16, "val": 0.95}},
            ("source", "val"),
            "0.95 leaves 19 columns for training, less than a crop of 32",
        ),
    ],
)
def test_mistakes_are_named(changes: dict, path: tuple, message: str) -> None:
    assert (path, message) in [(problem.path, problem.message) for problem in all_problems(dataset(**changes))]


def test_the_shipped_combination_has_no_problem() -> None:
    assert not list(all_problems(dataset()))
    assert isinstance(dataset().source, PhotosSpec)
