"""Samples on disk: `samples.npz` as guided-diffusion's evaluator reads it, pairs of the same layout, and a picture."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # A plan reads the names below, and starts faster without numpy.
    import numpy as np

SAMPLES = "samples.npz"
"""Images and their classes."""
PAIRS = "pairs.npz"
"""Some originals, each before its reconstruction, class by class: for pictures."""
STRIP = "strip.npz"
"""Some interpolations of the same layout, in the place of classes how far along each is: for pictures."""
GRID = "grid.png"
"""Some of the images, as a picture."""


@dataclass(frozen=True)
class SamplesFacts:
    """How images were made from a trained system."""

    count: int
    weights: str
    """The file that the system's weights came from."""
    device: str
    seconds: float
    """Of the attempt that ended."""
    images_per_second: float | None = None
    """None where earlier attempts had made them all."""
    redrawn: int = 0
    """Samples that were not finite and were drawn anew."""
    guidance: str | None = None
    """In words, for what is drawn from a prior."""
    overshot_scales: float | None = None
    """Share of the guided scales that linear guidance took below their floor, or below 0 where they have none; None
    where it guides no scales themselves."""


def write_samples(path: Path, pieces: Iterable[np.ndarray], labels: np.ndarray, image: tuple[int, ...]) -> None:
    """Write `arr_0` uint8 (N, H, W, C) from pieces of it, and `arr_1` int64 (N,).

    The bytes are those of `np.savez`, but only one piece is in memory at a time.
    """
    import numpy as np

    from mimflow.artifacts.npz import add_array, add_rows, write_npz

    def fill(archive: zipfile.ZipFile) -> None:
        add_rows(archive, "arr_0", pieces, (len(labels), *image), np.dtype(np.uint8))
        add_array(archive, "arr_1", labels)

    write_npz(path, fill)


def read_samples(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, H, W, C) uint8 and labels (N,) of a `samples.npz`."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return archive["arr_0"], archive["arr_1"]


def read_labels(path: Path) -> np.ndarray:
    """The labels (N,) alone."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        labels: np.ndarray = archive["arr_1"]
        return labels


def read_some(path: Path, places: Sequence[int]) -> np.ndarray:
    """The images (P, H, W, C) uint8 at `places`, read one after the other: all of them need not fit into memory."""
    import numpy as np

    with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as stream:
        np.lib.format.read_magic(stream)
        (_, *shape), _, dtype = np.lib.format.read_array_header_1_0(stream)
        size = int(np.prod(shape)) * dtype.itemsize
        wanted, found = set(places), {}
        for place in range(max(places) + 1):
            pixels = stream.read(size)
            if place in wanted:
                found[place] = np.frombuffer(pixels, dtype).reshape(shape)
    return np.stack([found[place] for place in places])
