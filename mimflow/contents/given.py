"""Samples that were made elsewhere: looked at before anything is read, and refused with what would be right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mimflow.artifacts.archives import read_array, read_headers
from mimflow.artifacts.manifest import sha256_of
from mimflow.contents.spec import GivenSamples
from mimflow.data.decode import decode
from mimflow.data.sources.base import BadImageError
from mimflow.data.spec import Transform
from mimflow.errors import ArtifactError
from mimflow.metrics.images import ArchiveImages, Images
from mimflow.outputs.drawing import Samples
from mimflow.system.spec import Shapes

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
WHAT = "the protocol's images"
EXPECTED = 20
"""Samples of a class from which on it is no chance that there is none: e⁻²⁰ is 2 in a thousand million."""
NAMED = 10
"""Classes that a message names at most."""


class FolderImages(Images):
    """The images of a folder by name, those of its subfolders too. ArtifactError if one is not of the shapes.

    Only headers are read before the images are asked for.
    """

    def __init__(self, folder: Path, shapes: Shapes):
        self.folder = folder
        self.files = image_files(folder)
        if not self.files:
            raise ArtifactError(f"{folder}: no images in it (they end in {', '.join(ENDINGS)})")
        self.transform = Transform(size=shapes.size)
        self.shape = (shapes.size, shapes.size, shapes.channels)
        for file in self.files:
            self._check(file)

    def _check(self, file: Path) -> None:
        side = self.transform.size
        try:
            with Image.open(file) as image:
                found = image.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ArtifactError(f"{file}: no image that can be read (remove it)") from error
        if found != (side, side):
            raise ArtifactError(
                f"{file}: {found[0]}×{found[1]} pixels, {WHAT} are {side}×{side}, and a resize would change them "
                "(draw them at that size, or name a protocol of theirs)"
            )

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The images, decoded. ArtifactError for one that is damaged."""
        for start in range(0, len(self.files), size):
            yield np.stack([self._pixels(file) for file in self.files[start : start + size]])

    def _pixels(self, file: Path) -> np.ndarray:
        try:
            return np.asarray(decode(file.read_bytes(), self.shape[2], self.transform)).reshape(self.shape)
        except (OSError, BadImageError) as error:
            raise ArtifactError(f"{file}: {error} (draw it again)") from error

    @property
    def labels(self) -> np.ndarray | None:
        """The classes (N,) by the sorted subfolders that the images lie in; None where some lie in none."""
        parents = [file.relative_to(self.folder).parts[:-1] for file in self.files]
        if not all(parents):
            return None
        classes = sorted({parts[0] for parts in parents})
        return np.array([classes.index(parts[0]) for parts in parents], np.int64)


def image_files(folder: Path) -> list[Path]:
    """The images below a folder, sorted by name; hidden ones, and those in hidden folders, are none."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS]
    named = {path.relative_to(folder): path for path in found}
    shown = [name for name in named if not any(part.startswith(".") for part in name.parts)]
    return [named[name] for name in sorted(shown, key=Path.as_posix)]


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of its images' names and digests, a line each."""
    if not path.is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in image_files(path):
        digest.update(f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n".encode())
    return digest.hexdigest()


def look(path: Path, labels: Path | None, shapes: Shapes, asked: Samples) -> tuple[Images, np.ndarray]:
    """The samples at a path and their classes (N,), −1 where they are not known; no pixel is read.

    ArtifactError says what would be right: where there is no such file, where it is cut short, where images are
    floats, of another size, or have their channels first, where there are not as many as the protocol asks for, and
    where classes are missing.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: missing (an .npz with arr_0, or a folder of images)")
    if path.is_dir():
        folder = FolderImages(path, shapes)
        images: Images = folder
        known = _folder_labels(folder, shapes)
    else:
        images = ArchiveImages(path, shapes, WHAT)
        known = None
    if len(images) != asked.count:
        more = len(images) > asked.count
        raise ArtifactError(
            f"{path}: {len(images):,} images, the protocol measures {asked.count:,}: numbers depend on how many "
            f"({'give the first ones alone' if more else 'draw the others, or name a protocol of so many'})"
        )
    if labels is not None:
        known = read_label_file(labels)
    elif not path.is_dir():
        known = _archive_labels(path, len(images))
    if known is None:
        return images, np.full(len(images), -1, np.int64)
    _check_labels(labels or path, known, len(images), shapes.num_classes, asked)
    return images, known.astype(np.int64)


def _archive_labels(path: Path, count: int) -> np.ndarray | None:
    """`arr_1`, where it is an array of so many whole numbers; None where there is none, or where all are −1."""
    header = read_headers(path).get("arr_1")
    if header is None:
        return None
    if header.dtype.kind not in "iu" or len(header.shape) != 1:
        raise ArtifactError(f"{path}: arr_1 is {header}, wanted the classes as whole numbers (N) (or leave it out)")
    if header.shape[0] != count:
        raise ArtifactError(f"{path}: {header.shape[0]:,} classes of {count:,} images (one each, in their order)")
    labels = read_array(path, "arr_1")
    return None if (labels == -1).all() else labels


def _folder_labels(folder: FolderImages, shapes: Shapes) -> np.ndarray | None:
    """By subfolder, where there is one for every class; a folder of folders for another reason says no class."""
    labels = folder.labels
    return labels if labels is not None and labels.max() + 1 == shapes.num_classes else None


def read_label_file(path: Path) -> np.ndarray:
    """Classes (N,) of an `.npy`, of an `.npz` with one array or `arr_1`, or of a text with a number a line."""
    if not path.is_file():
        raise ArtifactError(f"{path}: missing (the classes: .npy, .npz or a number a line)")
    try:
        if path.suffix == ".npz":
            names = list(read_headers(path))
            labels = read_array(path, names[0] if len(names) == 1 else "arr_1")
        elif path.suffix == ".npy":
            labels = np.load(path, allow_pickle=False)
        else:
            labels = np.array([int(line) for line in path.read_text(encoding="utf-8").split()], np.int64)
    except (ValueError, EOFError, OverflowError) as error:
        raise ArtifactError(f"{path}: no classes: {error} (.npy, .npz or a number a line)") from error
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        shape = "×".join(map(str, labels.shape))
        raise ArtifactError(f"{path}: {labels.dtype} {shape}, wanted the classes as whole numbers (N)")
    return labels


def _check_labels(path: Path, labels: np.ndarray, count: int, num_classes: int, asked: Samples) -> None:
    if len(labels) != count:
        raise ArtifactError(f"{path}: {len(labels):,} classes of {count:,} images (one each, in their order)")
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        value = int(labels[outside][0])
        raise ArtifactError(f"{path}: class {value}, the data set's are 0 … {num_classes - 1} (count from 0)")
    counts = np.bincount(labels, minlength=num_classes)
    missing = np.flatnonzero(counts == 0)
    if len(missing) and (asked.labels == "balanced" or count >= EXPECTED * num_classes):
        named = ", ".join(map(str, missing[:NAMED])) + (" …" if len(missing) > NAMED else "")
        if asked.labels == "uniform" or count >= num_classes:
            raise ArtifactError(
                f"{path}: no samples of {len(missing)} of {num_classes} classes: {named} "
                "(draw them: the reference has all)"
            )
    if asked.labels == "balanced" and counts.max() - counts.min() > 1:
        raise ArtifactError(
            f"{path}: {counts.min():,} to {counts.max():,} samples of a class, the protocol asks for the same number "
            "of each (draw them so, or name a protocol with labels: uniform)"
        )


def open_given(given: GivenSamples, shapes: Shapes, asked: Samples) -> tuple[Images, np.ndarray]:
    """The samples that a spec names, once they are found to be those. ArtifactError as of `look`."""
    path = Path(given.file)
    labels = Path(given.labels.file) if given.labels is not None else None
    found = look(path, labels, shapes, asked)
    digest = digest_of(path)
    if given.sha256 is None:
        raise ArtifactError(f"{path}: its digest is not written down yet (if these are they, write sha256: {digest})")
    if digest != given.sha256:
        raise ArtifactError(f"{path}: SHA-256 {digest}, the spec says {given.sha256} (other samples, or changed ones)")
    if given.labels is not None and (of_labels := sha256_of(Path(given.labels.file))) != given.labels.sha256:
        raise ArtifactError(f"{labels}: SHA-256 {of_labels}, the spec says {given.labels.sha256} (other classes)")
    return found
