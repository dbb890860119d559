"""Arrays in `.npz` files of other people's: headers first, then rows, so that no file decides how much is allocated."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from mimflow.errors import ArtifactError

CUT_SHORT = "cut short, or no .npz (np.savez writes one)"


@dataclass(frozen=True)
class ArrayHeader:
    """What an archive says of one of its arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        """`float32 50000×3×64×64`."""
        return f"{self.dtype} {'×'.join(map(str, self.shape)) or 'scalar'}"


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """The headers of an archive's arrays by name; no values are read.

    ArtifactError for a file that is no archive, that was cut short, or whose headers and sizes contradict.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                entry.filename.removesuffix(".npy"): _header(path, archive, entry)
                for entry in archive.infolist()
                if entry.filename.endswith(".npy")
            }
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ArtifactError(f"{path}: {CUT_SHORT}") from error
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error.strerror or error}") from error


def _header(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> ArrayHeader:
    with archive.open(entry) as stream:
        try:
            shape, fortran, dtype = _read_header(stream)
        except ValueError as error:
            raise ArtifactError(f"{path}: {entry.filename} is no array of NumPy's: {error}") from error
        header = ArrayHeader(shape, dtype, fortran)
        if not dtype.hasobject and stream.tell() + header.size != entry.file_size:
            raise ArtifactError(
                f"{path}: {entry.filename} has {entry.file_size:,} bytes, its header says {header} (cut short)"
            )
    return header


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def read_array(path: Path, name: str) -> np.ndarray:
    """A small array, whole. ArtifactError for one that holds objects of Python's, and for damaged ones."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: np.ndarray = archive[name]
            return array
    except (zipfile.BadZipFile, EOFError, zlib.error, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: {name} can't be read: {error}") from error


def read_rows(path: Path, name: str, size: int) -> Iterator[np.ndarray]:
    """An array (N, …) in pieces of up to `size` rows, as they stand in the archive, compressed or not.

    Only one piece is in memory. ArtifactError for values that are not those that were written.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        (count, *row), _, dtype = _read_header(stream)
        width = math.prod(row) * dtype.itemsize
        try:
            for start in range(0, count, size):
                rows = min(size, count - start)
                yield np.frombuffer(bytearray(stream.read(rows * width)), dtype).reshape(rows, *row)
            stream.read(1)  # the checksum is looked at where nothing is left
        except (zipfile.BadZipFile, EOFError, zlib.error, ValueError) as error:
            raise ArtifactError(f"{path}: {name} is damaged: {error} (copy it again)") from error


def map_rows(path: Path, name: str) -> np.ndarray:
    """An array of an archive that is not compressed, mapped from the file and read when indexed."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{name}.npy")
        with archive.open(entry) as stream:
            shape, _, dtype = _read_header(stream)
            begin = stream.tell()
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        # The lengths in the directory at the end may be others: only the entry itself says where its bytes begin.
        names, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    offset = entry.header_offset + 30 + names + extra + begin
    return np.memmap(path, dtype, "r", offset, shape)


def kept(headers: Mapping[str, ArrayHeader]) -> str:
    """What an archive holds, for messages: `images (uint8 50000×64×64×3), labels (int64 50000)`."""
    return ", ".join(f"{name} ({header})" for name, header in headers.items()) or "no arrays"
