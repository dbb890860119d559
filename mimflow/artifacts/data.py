"""A prepared data set on disk: images and labels of both splits, an index of them, and what they were read from."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mimflow.artifacts.cells import from_cell, to_cell
from mimflow.artifacts.manifest import Artifact, write_atomically

INDEX = "index.csv"
"""Every image by its place: its class, and what it was made from."""
SOURCES = "sources.csv"
"""Every file that was read, or could not be; only of sources that are files."""


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be used."""

    name: str
    problem: str


@dataclass(frozen=True)
class DataFacts:
    """What a prepared data set holds."""

    split: str
    """The kind of split."""
    classes: list[str]
    """By label."""
    images: dict[str, int]
    """By split."""
    images_by_class: dict[str, list[int]]
    """By split and label."""
    skipped: int
    skipped_images: list[SkippedImage]
    """The first of them; `sources.csv` has them all."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Files of the source's folders that are no images to it, counted by ending."""
    sources_listed_ns: int | None = None
    """When the files were listed, in nanoseconds since 1970; None for sources that are not files."""


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when it was read. Without a digest it could not be; `problem` is empty if all went well."""

    path: str
    size: int
    sha256: str
    problem: str


def images_file(split: str) -> str:
    """The name of a split's images: uint8 (N, H, W, C)."""
    return f"{split}.images.npy"


def labels_file(split: str) -> str:
    """The name of a split's labels: int64 (N,)."""
    return f"{split}.labels.npy"


def write_labels(folder: Path, split: str, labels: np.ndarray) -> None:
    """Write a split's labels (N,)."""
    write_atomically(folder / labels_file(split), lambda temporary: np.save(temporary, labels))


def open_images(artifact: Artifact, split: str) -> np.ndarray:
    """A split's images uint8 (N, H, W, C), verified, mapped from the file and read when indexed."""
    images: np.ndarray = np.load(artifact.file(images_file(split)), mmap_mode="r")
    return images


def read_labels(artifact: Artifact, split: str) -> np.ndarray:
    """A split's labels int64 (N,), verified."""
    labels: np.ndarray = np.load(artifact.file(labels_file(split)))
    return labels


def write_index(folder: Path, rows: Iterable[tuple[str, int, int, str, str]]) -> None:
    """Write for every image its split, place in it, label, class and source."""
    _write_csv(folder / INDEX, ("split", "index", "label", "class", "source"), rows)


def write_sources(folder: Path, files: Iterable[SourceFile]) -> None:
    """Write what was read."""
    rows = ((file.path, file.size, file.sha256, file.problem) for file in files)
    _write_csv(folder / SOURCES, ("path", "size", "sha256", "problem"), rows)


def read_sources(artifact: Artifact) -> dict[str, SourceFile]:
    """What was read, by path, the list verified."""
    with artifact.file(SOURCES).open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        cells = ([from_cell(cell) for cell in row] for row in rows)
        return {path: SourceFile(path, int(size), sha256, problem) for path, size, sha256, problem in cells}


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(map(to_cell, row) for row in rows)

    write_atomically(path, write)
