"""Archives of arrays as `np.savez` writes them, to the byte, with only a piece of a large array in memory at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from mimflow.artifacts.manifest import write_atomically


def write_npz(path: Path, fill: Callable[[zipfile.ZipFile], None]) -> None:
    """Write an archive that `fill` puts arrays into, atomically."""

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            fill(archive)

    write_atomically(path, write)


def add_rows(
    archive: zipfile.ZipFile, name: str, pieces: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> None:
    """Add an array of this shape (N, …) whose rows come in pieces (B, …)."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for rows in pieces:
            stream.write(rows.tobytes())


def add_array(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    """Add an array that is in memory."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, values)
