"""Rows of an array on their way into a `.npy` file, piece by piece: what is done stays done after an interruption."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimflow.artifacts.manifest import write_atomically, write_text
from mimflow.errors import ArtifactError, StorageError

PIECE_BYTES = 64 * 2**20
"""What a piece of large rows should not exceed: it is in memory when it is written."""


@dataclass(frozen=True)
class Record:
    """What is known of a piece that is done."""

    sha256: str
    """Of its rows, the key of their job, and the fields below."""
    made_from: str
    """A digest of what they follow from, for whoever may be given something else the next time."""
    notes: Any
    """Plain data that was found on the way."""


@dataclass(frozen=True)
class Rows:
    """The rows of an array in a `.npy` file of full size from the start, with a record beside it of each piece done.

    Rows are written before their record, which has a digest of both, so that a piece that was cut short or flipped in a
    bit counts as not done. Processes may write different pieces at the same time.
    """

    path: Path
    shape: tuple[int, ...]
    """(N, …), N the number of rows."""
    dtype: np.dtype
    length: int
    """Rows of a piece; the last may have fewer."""
    job: str
    """The key of the job that they belong to: another's pieces count as not done."""

    @property
    def count(self) -> int:
        """The number of pieces."""
        return -(-self.shape[0] // self.length)

    def piece(self, index: int) -> range:
        """The positions of a piece's rows among all."""
        first = index * self.length
        return range(first, min(first + self.length, self.shape[0]))

    def record(self, index: int, made_from: str = "") -> Record | None:
        """The record of a piece that is done; None if it has to be written (again), or was made from something else."""
        stored = self._stored(index)
        return stored[0] if stored is not None and stored[0].made_from == made_from else None

    def missing(self) -> list[int]:
        """The pieces that have to be written, for the first time or again; for rows that are made from one thing."""
        return [index for index in range(self.count) if self.record(index) is None]

    def write(self, index: int, rows: np.ndarray, made_from: str = "", notes: Any = None) -> None:
        """Write a piece's rows (B, …), then its record. StorageError if there is no room."""
        if rows.shape != self._piece_shape(index):
            raise ValueError(f"piece {index} of {self.path.name}: {rows.shape}, wanted {self._piece_shape(index)}")
        content = np.ascontiguousarray(rows, self.dtype)
        try:
            # Not through a memory map: a full disk would end the process with SIGBUS instead of raising OSError.
            with self.path.open("r+b") as stream:
                stream.seek(self._offset(index))
                stream.write(content.data)
        except OSError as error:
            raise _no_room(self.path, error) from error
        record = Record(self._digest(content.data, made_from, notes), made_from, notes)
        write_text(self._record_path(index), json.dumps(asdict(record)))

    def read(self, index: int) -> np.ndarray:
        """The rows (B, …) of a piece that is done; ArtifactError if they are missing or corrupt."""
        stored = self._stored(index)
        if stored is None:
            rows = self.piece(index)
            raise ArtifactError(
                f"{self.path}: rows {rows.start}–{rows.stop - 1} missing or corrupt (run the job again)"
            )
        return np.frombuffer(stored[1], self.dtype).reshape(self._piece_shape(index))

    def __iter__(self) -> Iterator[np.ndarray]:
        """All pieces in order; ArtifactError if one is missing or corrupt."""
        for index in range(self.count):
            yield self.read(index)

    def link(self, target: Path) -> None:
        """Give the finished file a second name among the results.

        The first one stays, so that nothing is lost if the process ends before the store has the results; a file
        system without links has it moved.
        """
        try:
            target.hardlink_to(self.path)
        except OSError:
            self.path.replace(target)

    def copy(self, target: Path, kept: np.ndarray) -> None:
        """Write a `.npy` file of some of the rows: those at the positions `kept` (M,)."""
        rows = np.load(self.path, mmap_mode="r")
        with target.open("wb") as stream:
            stream.write(_header((len(kept), *self.shape[1:]), self.dtype))
            for row in kept:
                stream.write(rows[row].data)

    def allocate(self) -> None:
        """Make sure that a file of the full size is there; one of this shape and type keeps its content.

        A file that has a second name elsewhere, in the store or DVC's cache, is left alone and a new one is made.
        """
        header = _header(self.shape, self.dtype)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._goes_on(header):
                # In one step: of shards that begin at the same time the last one's is the file, and none is cut short.
                write_atomically(self.path, lambda temporary: temporary.write_bytes(header))
            with self.path.open("r+b") as stream:
                stream.truncate(len(header) + math.prod(self.shape) * self.dtype.itemsize)
        except OSError as error:
            raise _no_room(self.path, error) from error

    def _goes_on(self, header: bytes) -> bool:
        if not self.path.is_file() or self.path.stat().st_nlink > 1:
            return False
        with self.path.open("rb") as stream:
            return stream.read(len(header)) == header

    def _stored(self, index: int) -> tuple[Record, bytes] | None:
        """A piece's record and the bytes of its rows; None if they are not there, or not each other's."""
        try:
            record = Record(**json.loads(self._record_path(index).read_text(encoding="utf-8")))
            with self.path.open("rb") as stream:
                stream.seek(self._offset(index))
                content = stream.read(math.prod(self._piece_shape(index)) * self.dtype.itemsize)
        except (FileNotFoundError, ValueError, TypeError):
            return None
        whole = record.sha256 == self._digest(content, record.made_from, record.notes)
        return (record, content) if whole else None

    def _digest(self, content: bytes | memoryview, made_from: str, notes: Any) -> str:
        digest = hashlib.sha256(content)
        digest.update(json.dumps([self.job, made_from, notes], sort_keys=True).encode())
        return digest.hexdigest()

    def _offset(self, index: int) -> int:
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        return len(_header(self.shape, self.dtype)) + index * self.length * row

    def _piece_shape(self, index: int) -> tuple[int, ...]:
        return (len(self.piece(index)), *self.shape[1:])

    def _record_path(self, index: int) -> Path:
        return self.path.with_suffix(".pieces") / f"{self.piece(index).start:08}.json"


def claim(*arrays: Rows) -> None:
    """Make room for arrays, keeping what an earlier attempt has written. StorageError if there is too little."""
    needed = 0
    for rows in arrays:
        rows.allocate()
        status = rows.path.stat()
        needed += max(0, status.st_size - status.st_blocks * 512)
    folder = arrays[0].path.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def _no_room(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: can't write: {error.strerror or error}")
