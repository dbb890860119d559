"""Samples on disk: `samples.npz` as guided-diffusion's evaluator reads it, and the shards it is made from."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mimflow.artifacts.manifest import write_atomically
from mimflow.errors import ArtifactError

DIGEST_BYTES = hashlib.sha256().digest_size


class Shards:
    """Batches of uint8 images in a folder: what has been drawn so far.

    A shard is its SHA-256 and its pixels, so that a file cut short or flipped in a bit counts as not drawn.
    """

    def __init__(self, folder: Path, count: int, batch_size: int, image: tuple[int, int, int]):
        self.folder = folder
        self.batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
        """The positions of each batch's images among all."""
        self.image = image

    def missing(self) -> list[int]:
        """The batches that have to be drawn, for the first time or again."""
        return [index for index in range(len(self.batches)) if self._pixels(index) is None]

    def read(self, index: int) -> np.ndarray:
        """The images (B, H, W, C) of a batch; ArtifactError if they are missing or corrupt."""
        pixels = self._pixels(index)
        if pixels is None:
            raise ArtifactError(f"{self._path(index)}: missing or corrupt (run the job again)")
        return np.frombuffer(pixels, np.uint8).reshape(self._shape(index))

    def write(self, index: int, images: np.ndarray) -> None:
        """Keep a batch's images (B, H, W, C) uint8."""
        pixels = images.tobytes()
        data = hashlib.sha256(pixels).digest() + pixels

        def write(temporary: Path) -> None:
            temporary.write_bytes(data)

        write_atomically(self._path(index), write)

    def __iter__(self) -> Iterator[np.ndarray]:
        """All batches in order; ArtifactError if one is missing or corrupt."""
        for index in range(len(self.batches)):
            yield self.read(index)

    def _pixels(self, index: int) -> bytes | None:
        """A shard's bytes without their digest; None if there is no such file, or it is not whole."""
        try:
            data = self._path(index).read_bytes()
        except FileNotFoundError:
            return None
        digest, pixels = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        whole = len(pixels) == math.prod(self._shape(index)) and hashlib.sha256(pixels).digest() == digest
        return pixels if whole else None

    def _shape(self, index: int) -> tuple[int, ...]:
        return (len(self.batches[index]), *self.image)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.shard"


def write_samples(path: Path, shards: Iterable[np.ndarray], labels: np.ndarray, image: tuple[int, int, int]) -> None:
    """Write `arr_0` uint8 (N, H, W, C) and `arr_1` int64 (N,).

    The bytes are those of `np.savez`, but only one shard is in memory at a time.
    """

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            with archive.open("arr_0.npy", "w", force_zip64=True) as stream:
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), *image)}
                np.lib.format.write_array_header_1_0(stream, header)
                for images in shards:
                    stream.write(images.tobytes())
            with archive.open("arr_1.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, labels)

    write_atomically(path, write)


def read_samples(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, H, W, C) uint8 and labels (N,) of a `samples.npz`."""
    with np.load(path, allow_pickle=False) as archive:
        return archive["arr_0"], archive["arr_1"]
