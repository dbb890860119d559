"""Preparing images in shards: pieces of work for one process, kept when a preparation is interrupted.

A shard is a piece of a split's rows, of at most `PIECE_BYTES`: images are read, cut and written, then what they were
made from is recorded, and their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from mimflow.artifacts.data import images_file
from mimflow.artifacts.manifest import canonical
from mimflow.artifacts.rows import PIECE_BYTES, Rows
from mimflow.data.decode import decode
from mimflow.data.sources.base import BadImageError, Item, Source
from mimflow.data.spec import Transform
from mimflow.data.transforms import cut
from mimflow.errors import DataError

SHARD_IMAGES = 512


@dataclass(frozen=True)
class Recipe:
    """How every image of a data set is prepared, and where the work lies."""

    source: Source
    transform: Transform
    channels: int
    folder: Path
    job: str
    """The key of the job."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.transform.size, self.transform.size, self.channels

    def rows(self, split: str, count: int) -> Rows:
        """A split's images on their way, uint8 (N, H, W, C)."""
        length = max(1, min(SHARD_IMAGES, PIECE_BYTES // int(np.prod(self.image_shape))))
        return Rows(self.folder / images_file(split), (count, *self.image_shape), np.dtype(np.uint8), length, self.job)


@dataclass(frozen=True)
class Shard:
    """A piece of a split's rows, one for each item."""

    split: str
    rows: Rows
    index: int
    items: tuple[Item, ...]

    @property
    def place(self) -> tuple[str, int]:
        """What names it within a data set: the split and its first row."""
        return self.split, self.rows.piece(self.index).start


@dataclass(frozen=True)
class Reading:
    """What became of one image. `problem` is empty if all went well; without a file there is no digest."""

    size: int
    sha256: str
    problem: str


def shards(split: str, items: list[Item], rows: Rows) -> Iterator[Shard]:
    """Cut a split into shards."""
    for index in range(rows.count):
        piece = rows.piece(index)
        yield Shard(split, rows, index, tuple(items[piece.start : piece.stop]))


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
    shard.rows.write(shard.index, rows, _fingerprint(recipe, shard), [astuple(reading) for reading in readings])
    return readings


def finished(recipe: Recipe, shard: Shard) -> list[Reading] | None:
    """What a finished shard read; None if it has to be done (again).

    It is finished if its record is whole, its sources and its transform are those of now, and its rows are
    those that were written.
    """
    record = shard.rows.record(shard.index, _fingerprint(recipe, shard))
    return None if record is None else [Reading(*reading) for reading in record.notes]


def _prepare(recipe: Recipe, item: Item, row: np.ndarray) -> Reading:
    """Read and cut one image into `row`."""
    size, digest = item.size, ""
    try:
        raw = recipe.source.fetch(item)
        if isinstance(raw, bytes):
            size, digest = len(raw), hashlib.sha256(raw).hexdigest()
        image = decode(raw, recipe.channels, recipe.transform, recipe.source.max_pixels)
        row[...] = cut(image, recipe.transform)
    except BadImageError as error:
        return Reading(size, digest, str(error))
    return Reading(size, digest, "")


def _fingerprint(recipe: Recipe, shard: Shard) -> str:
    """A digest of all that a shard's rows follow from, with the files' sizes and times for their content."""
    items = [(item.name, item.label, item.size, item.changed) for item in shard.items]
    source = recipe.source
    made_from = [recipe.transform.identity(), recipe.channels, source.skips_bad, source.max_pixels, items]
    return hashlib.sha256(canonical(made_from).encode()).hexdigest()
