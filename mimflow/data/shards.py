"""Preparing images in shards: pieces of work for one process, kept when a preparation is interrupted.

A split's images lie in one `.npy` file from the start. A shard is a run of rows, of at most `SHARD_BYTES`:
images are read, cut and written, then what they were made from is recorded, and their digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from mimflow.artifacts.manifest import canonical, write_text
from mimflow.data.decode import decode
from mimflow.data.sources.base import BadImageError, Item, Source
from mimflow.data.spec import Transform
from mimflow.data.transforms import cut
from mimflow.errors import DataError, StorageError

SHARD_IMAGES = 512
SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Recipe:
    """How every image of a data set is prepared, and where the work lies."""

    source: Source
    transform: Transform
    channels: int
    folder: Path

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.transform.size, self.transform.size, self.channels

    def images(self, split: str) -> Path:
        """The file of a split's images, uint8 (N, H, W, C)."""
        return self.folder / f"{split}.images.npy"


@dataclass(frozen=True)
class Shard:
    """The rows from `first` on of a split, one for each item."""

    split: str
    first: int
    items: tuple[Item, ...]

    @property
    def place(self) -> tuple[str, int]:
        """What names it within a data set."""
        return self.split, self.first

    def record(self, recipe: Recipe) -> Path:
        return recipe.folder / "shards" / f"{self.split}-{self.first:08}.json"


@dataclass(frozen=True)
class Reading:
    """What became of one image. `problem` is empty if all went well; without a file there is no digest."""

    size: int
    sha256: str
    problem: str


def shards(split: str, items: list[Item], recipe: Recipe) -> Iterator[Shard]:
    """Cut a split into shards."""
    length = max(1, min(SHARD_IMAGES, SHARD_BYTES // int(np.prod(recipe.image_shape))))
    for first in range(0, len(items), length):
        yield Shard(split, first, tuple(items[first : first + length]))


def allocate(path: Path, shape: tuple[int, ...]) -> None:
    """Make sure that a `.npy` file of uint8 of this shape is there; one that fits keeps its content.

    A file that has a second name elsewhere, in the store or DVC's cache, is left alone and a new one is made.
    """
    if path.exists() and path.stat().st_nlink == 1 and _shape(path) == shape:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    except OSError as error:
        raise StorageError(f"{path}: can't write: {error.strerror or error}") from error


def write_shard(recipe: Recipe, shard: Shard) -> list[Reading]:
    """Prepare a shard's images, write their rows, then its record; returns what was read.

    DataError at a bad image that may not be skipped.
    """
    rows = np.zeros((len(shard.items), *recipe.image_shape), np.uint8)
    readings = []
    for row, item in zip(rows, shard.items, strict=True):
        readings.append(_prepare(recipe, item, row))
        if readings[-1].problem and not recipe.source.skips_bad:
            raise DataError(f"{recipe.source.where(item)}: {readings[-1].problem}")
    _write_rows(recipe.images(shard.split), shard.first, rows)
    record = {
        "made_from": _fingerprint(recipe, shard),
        "sha256": hashlib.sha256(rows.data).hexdigest(),
        "readings": [astuple(reading) for reading in readings],
    }
    write_text(shard.record(recipe), json.dumps(record))
    return readings


def finished(recipe: Recipe, shard: Shard) -> list[Reading] | None:
    """What a finished shard read; None if it has to be done (again).

    It is finished if its record is whole, its sources and its transform are those of now, and its rows are
    those that were written.
    """
    try:
        record = json.loads(shard.record(recipe).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if record["made_from"] != _fingerprint(recipe, shard):
        return None
    rows = np.load(recipe.images(shard.split), mmap_mode="r")[shard.first : shard.first + len(shard.items)]
    if hashlib.sha256(rows.data).hexdigest() != record["sha256"]:
        return None
    return [Reading(*reading) for reading in record["readings"]]


def _prepare(recipe: Recipe, item: Item, row: np.ndarray) -> Reading:
    """Read and cut one image into `row`."""
    size, digest = item.size, ""
    try:
        raw = recipe.source.fetch(item)
        if isinstance(raw, bytes):
            size, digest = len(raw), hashlib.sha256(raw).hexdigest()
        row[...] = cut(decode(raw, recipe.channels), recipe.transform)
    except BadImageError as error:
        return Reading(size, digest, str(error))
    return Reading(size, digest, "")


def _fingerprint(recipe: Recipe, shard: Shard) -> str:
    """A digest of all that a shard's rows follow from, with the files' sizes and times for their content."""
    items = [(item.name, item.label, item.size, item.changed) for item in shard.items]
    made_from = [recipe.transform.identity(), recipe.channels, recipe.source.skips_bad, items]
    return hashlib.sha256(canonical(made_from).encode()).hexdigest()


def _write_rows(path: Path, first: int, rows: np.ndarray) -> None:
    # Not through a memory map: a full disk would end the process with SIGBUS instead of raising OSError.
    offset = np.load(path, mmap_mode="r").offset
    try:
        with path.open("r+b") as stream:
            stream.seek(offset + first * rows[0].nbytes)
            stream.write(rows.data)
    except OSError as error:
        raise StorageError(f"{path}: can't write: {error.strerror or error}") from error


def _shape(path: Path) -> tuple[int, ...] | None:
    """The shape in a `.npy` file's header; None if there is none, or less data than it says."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except (ValueError, EOFError):
        return None
    return array.shape
