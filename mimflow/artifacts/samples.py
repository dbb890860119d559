"""Samples on disk: `samples.npz` as guided-diffusion's evaluator reads it, features, and the shards of both."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from mimflow.artifacts.manifest import write_atomically
from mimflow.errors import ArtifactError

SAMPLES = "samples.npz"
"""Images and their classes."""
PAIRS = "pairs.npz"
"""Some originals, each before its reconstruction, class by class: for pictures."""
FEATURES = "features.npz"
"""A representation of both splits."""

DIGEST_BYTES = hashlib.sha256().digest_size


class Shards:
    """Batches of rows, images in uint8 or features, in a folder: what has been drawn so far.

    A shard is its SHA-256 and its content, so that a file cut short or flipped in a bit counts as not drawn.
    """

    def __init__(self, folder: Path, count: int, batch_size: int, row: tuple[int, ...], dtype: DTypeLike = np.uint8):
        self.folder = folder
        self.batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
        """The positions of each batch's rows among all."""
        self.row = row
        """The shape of a row: (H, W, C) of an image, (F,) of features."""
        self.dtype = np.dtype(dtype)

    def missing(self) -> list[int]:
        """The batches that have to be drawn, for the first time or again."""
        return [index for index in range(len(self.batches)) if self._content(index) is None]

    def read(self, index: int) -> np.ndarray:
        """The rows (B, …) of a batch; ArtifactError if they are missing or corrupt."""
        content = self._content(index)
        if content is None:
            raise ArtifactError(f"{self._path(index)}: missing or corrupt (run the job again)")
        return np.frombuffer(content, self.dtype).reshape(self._shape(index))

    def write(self, index: int, rows: np.ndarray) -> None:
        """Keep a batch's rows (B, …)."""
        content = rows.astype(self.dtype, copy=False).tobytes()
        data = hashlib.sha256(content).digest() + content

        def write(temporary: Path) -> None:
            temporary.write_bytes(data)

        write_atomically(self._path(index), write)

    def __iter__(self) -> Iterator[np.ndarray]:
        """All batches in order; ArtifactError if one is missing or corrupt."""
        for index in range(len(self.batches)):
            yield self.read(index)

    def _content(self, index: int) -> bytes | None:
        """A shard's bytes without their digest; None if there is no such file, or it is not whole."""
        try:
            data = self._path(index).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        size = math.prod(self._shape(index)) * self.dtype.itemsize
        whole = len(content) == size and hashlib.sha256(content).digest() == digest
        return content if whole else None

    def _shape(self, index: int) -> tuple[int, ...]:
        return (len(self.batches[index]), *self.row)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.shard"


def write_samples(path: Path, shards: Iterable[np.ndarray], labels: np.ndarray, image: tuple[int, ...]) -> None:
    """Write `arr_0` uint8 (N, H, W, C) and `arr_1` int64 (N,).

    The bytes are those of `np.savez`, but only one shard is in memory at a time.
    """

    def write(archive: zipfile.ZipFile) -> None:
        _write_rows(archive, "arr_0", shards, (len(labels), *image), np.dtype(np.uint8))
        _write_array(archive, "arr_1", labels)

    _write_archive(path, write)


def read_samples(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, H, W, C) uint8 and labels (N,) of a `samples.npz`."""
    with np.load(path, allow_pickle=False) as archive:
        return archive["arr_0"], archive["arr_1"]


def write_features(path: Path, splits: Mapping[str, tuple[Shards, np.ndarray]]) -> None:
    """Write the features (N, F) and labels (N,) of each split as `train_features`, `train_labels`, ….

    Only one shard is in memory at a time.
    """

    def write(archive: zipfile.ZipFile) -> None:
        for split, (shards, labels) in splits.items():
            _write_rows(archive, f"{split}_features", shards, (len(labels), *shards.row), shards.dtype)
            _write_array(archive, f"{split}_labels", labels)

    _write_archive(path, write)


def read_features(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The features (N, F) float32 and labels (N,) int64 of a split."""
    with np.load(path, allow_pickle=False) as archive:
        return archive[f"{split}_features"], archive[f"{split}_labels"]


def _write_archive(path: Path, fill: Callable[[zipfile.ZipFile], None]) -> None:
    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            fill(archive)

    write_atomically(path, write)


def _write_rows(
    archive: zipfile.ZipFile, name: str, batches: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for rows in batches:
            stream.write(rows.tobytes())


def _write_array(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, values)
