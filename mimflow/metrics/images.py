"""Images as they are measured: batch by batch, wherever they lie, never all of them in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mimflow.artifacts.archives import ArrayHeader, kept, read_headers, read_rows
from mimflow.errors import ArtifactError
from mimflow.system.spec import Shapes


class Images(ABC):
    """So many images (H, W, C) uint8, in an order of their own."""

    shape: tuple[int, int, int]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The images from the first to the last, up to `size` at once: (B, H, W, C) uint8."""


class ArrayImages(Images):
    """Images (N, H, W, C) uint8 of an array, in memory or mapped from a file.

    `places` (M,) says which and in which order; those that are `mirrored` (M,) bool are turned left to right.
    """

    def __init__(self, images: np.ndarray, places: np.ndarray | None = None, mirrored: np.ndarray | None = None):
        self.images = images
        self.places = places
        self.mirrored = mirrored
        self.shape = images.shape[1:]

    def __len__(self) -> int:
        return len(self.images if self.places is None else self.places)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The images as the array has them, copied."""
        for start in range(0, len(self), size):
            end = min(start + size, len(self))
            batch = np.array(self.images[start:end] if self.places is None else self.images[self.places[start:end]])
            if self.mirrored is not None:
                turned = self.mirrored[start:end]
                batch[turned] = batch[turned, :, ::-1]
            yield batch


class ArchiveImages(Images):
    """The images `arr_0` of an `.npz` as the ADM evaluator takes it, looked at before anything is read.

    ArtifactError says what would be right where they are not (N, H, W, C) uint8 of the shapes.
    """

    def __init__(self, path: Path, shapes: Shapes, what: str):
        self.path = path
        headers = read_headers(path)
        header = headers.get("arr_0")
        if header is None:
            raise ArtifactError(
                f"{path}: no arr_0, it holds {kept(headers)} (np.savez(file, images) names the images so)"
            )
        problem = image_problem(header, shapes, what)
        if problem:
            raise ArtifactError(f"{path}: arr_0 is {header}: {problem}")
        self.shape = header.shape[1:]  # type: ignore[assignment]
        self.count = header.shape[0]

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The images as they stand in the archive."""
        return read_rows(self.path, "arr_0", size)


def image_problem(header: ArrayHeader, shapes: Shapes, what: str) -> str:
    """Why an array does not hold such images, and what would be right; empty if it does."""
    side, channels, shape = shapes.size, shapes.channels, header.shape
    wanted = f"{side}×{side}×{channels}"
    if len(shape) == 3 and channels == 1:
        return "grey images without an axis of channels (x[..., None] has one)"
    if len(shape) != 4:
        return f"{what} have 4 axes: images × height × width × channels"
    if header.fortran:
        return "its values lie in Fortran's order (np.ascontiguousarray(x) brings them into C's)"
    if shape[1] in (1, 3) and shape[3] not in (1, 3):
        return "channels come first (x.transpose(0, 2, 3, 1) puts them last)"
    if shape[1:] != (side, side, channels):
        return f"{what} are {wanted} (height × width × channels), {_resized(shape, shapes)}"
    if header.dtype.kind == "f":
        return (
            "numbers with a point, wanted uint8 of 0 … 255 (of images in [-1, 1]: "
            "np.clip(np.rint(127.5 * x + 127.5), 0, 255).astype(np.uint8))"
        )
    if header.dtype != np.uint8:
        return "wanted uint8 of 0 … 255 (np.clip(x, 0, 255).astype(np.uint8))"
    return ""


def _resized(shape: tuple[int, ...], shapes: Shapes) -> str:
    if shape[3] != shapes.channels and shape[1:3] == (shapes.size, shapes.size):
        return f"not with {shape[3]} channels"
    return "which a resize would change: draw them at that size, or name a protocol of theirs"
