"""Stage prepare: the images of a data set, cut, split and written once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimflow.artifacts.data import (
    DataFacts,
    SkippedImage,
    SourceFile,
    images_file,
    write_index,
    write_labels,
    write_sources,
)
from mimflow.artifacts.manifest import Artifact, write_atomically
from mimflow.artifacts.rows import Rows, claim
from mimflow.data.pins import Pin, content_digest, listing_digest
from mimflow.data.registry import SOURCES
from mimflow.data.shards import Reading, Recipe, finished, shards
from mimflow.data.sources.base import SPLITS, Item, Listing
from mimflow.data.sources.folder import counted
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.data.spec import DatasetSpec
from mimflow.data.split import assign, check_classes
from mimflow.data.workers import available_cores, write_shards
from mimflow.errors import DataError
from mimflow.progress import Progress
from mimflow.tasks import PrepareTask

SKIPPED_SHOWN = 20
"""Skipped images that the facts name; `sources.csv` has them all."""


@dataclass(frozen=True)
class Result:
    """A split as it was read: an item and a reading for every row of its images, the bad ones' rows empty."""

    items: list[Item]
    readings: list[Reading]

    @property
    def kept(self) -> np.ndarray:
        """The rows of images that were read, int64."""
        return np.flatnonzero([not reading.problem for reading in self.readings])


def run(task: PrepareTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> DataFacts:
    """Write images and labels of both splits, `index.csv` and, for a folder, `sources.csv` below `work/out`.

    Goes on where an interrupted attempt stopped. The facts: images by split and class, the names of the
    classes, how many were skipped. DataError for a fault of the source, StorageError if the disk is full.
    """
    dataset = task.dataset
    out = work / "out"
    source = SOURCES.build(dataset.source)
    listed_ns = time.time_ns()
    listing = source.listing(by_split=dataset.split.kind != "stratified")
    if listing.left_out:
        progress.say(f"left out, because they are no images: {counted(listing.left_out)}")
    check_classes(listing, dataset)
    items = assign(listing, dataset.split)
    recipe = Recipe(source, dataset.transform, dataset.channels, work / "rows")
    rows = {split: recipe.rows(split, len(items[split])) for split in SPLITS}
    for split in SPLITS:
        # Of an attempt that ended before the store had it: a second name of the rows' file.
        (out / images_file(split)).unlink(missing_ok=True)
    claim(*rows.values())
    results = _read(recipe, items, rows, dataset.workers or available_cores(), progress)
    if task.files is not None:
        _require_pinned(task.files, results, dataset)
    facts = _facts(results, dataset, listing, None if source.in_memory else listed_ns)

    write_index(out, _index(results, listing.classes))
    if not source.in_memory:
        write_sources(out, _sources(results))
    for split, result in results.items():
        _write_split(rows[split], out, split, result)
    return facts


def _require_pinned(pin: Pin, results: dict[str, Result], dataset: DatasetSpec) -> None:
    """DataError unless the files that were read are those that the data set's pin names."""
    read = [
        (item, reading)
        for result in results.values()
        for item, reading in zip(result.items, result.readings, strict=True)
    ]
    listing = listing_digest((item.name, item.size) for item, _ in read)
    content = content_digest((item.name, reading.sha256) for item, reading in read)
    if listing != pin.listing or pin.content not in (None, content):
        assert isinstance(dataset.source, ImageFolderSpec)
        raise DataError(
            f"{dataset.source.path}: its images are not those that are pinned "
            "(put them back, or `mimflow data lock`, which makes all that depends on them anew)"
        )


def _read(
    recipe: Recipe, items: dict[str, list[Item]], rows: dict[str, Rows], workers: int, progress: Progress
) -> dict[str, Result]:
    """Do the shards that are not done, and collect what all of them read."""
    every = [shard for split in SPLITS for shard in shards(split, items[split], rows[split])]
    readings = {shard.place: read for shard in every if (read := finished(recipe, shard)) is not None}
    pending = [shard for shard in every if shard.place not in readings]
    total = sum(len(shard.items) for shard in every)
    done = total - sum(len(shard.items) for shard in pending)
    if done:
        progress.say(f"{done} of {total} images are ready from an earlier attempt")
    progress.start(total, done, unit="image")
    for shard, read in write_shards(recipe, pending, workers):
        readings[shard.place] = read
        done += len(shard.items)
        progress.advance(done, images=len(shard.items))
    results = {split: Result(items[split], []) for split in SPLITS}
    for shard in every:
        results[shard.split].readings.extend(readings[shard.place])
    return results


def _facts(results: dict[str, Result], dataset: DatasetSpec, listing: Listing, listed_ns: int | None) -> DataFacts:
    """Counts. DataError if skipping has left nothing of a class to train on, or nothing to validate with."""
    classes = listing.classes
    by_class = {
        split: np.bincount(_labels(result), minlength=len(classes)).tolist() for split, result in results.items()
    }
    for name, count in zip(classes, by_class["train"], strict=True):
        if not count:
            raise DataError(f"class '{name}': none of its images for training can be read")
    if not any(by_class["val"]):
        raise DataError("none of the images for validation can be read")
    skipped = [
        SkippedImage(item.name, reading.problem)
        for result in results.values()
        for item, reading in zip(result.items, result.readings, strict=True)
        if reading.problem
    ]
    return DataFacts(
        split=dataset.split.kind,
        classes=list(classes),
        images={split: sum(counts) for split, counts in by_class.items()},
        images_by_class=by_class,
        skipped=len(skipped),
        skipped_images=skipped[:SKIPPED_SHOWN],
        left_out=dict(listing.left_out),
        sources_listed_ns=listed_ns,
    )


def _labels(result: Result) -> np.ndarray:
    return np.array([result.items[row].label for row in result.kept], np.int64)


def _index(results: dict[str, Result], classes: tuple[str, ...]) -> Iterator[tuple[str, int, int, str, str]]:
    for split, result in results.items():
        for index, row in enumerate(result.kept):
            item = result.items[row]
            yield split, index, item.label, classes[item.label], item.name


def _sources(results: dict[str, Result]) -> Iterator[SourceFile]:
    for result in results.values():
        for item, reading in zip(result.items, result.readings, strict=True):
            yield SourceFile(item.name, reading.size, reading.sha256, reading.problem)


def _write_split(rows: Rows, out: Path, split: str, result: Result) -> None:
    """Labels, then images: the rows' own file where all are good, a copy without the empty ones where not."""
    write_labels(out, split, _labels(result))
    images = out / images_file(split)
    if len(result.kept) < len(result.items):
        write_atomically(images, lambda temporary: rows.copy(temporary, result.kept))
    else:
        rows.link(images)
