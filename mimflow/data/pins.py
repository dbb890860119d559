"""Which files a data set of the user's consists of: a digest of their names and sizes, and of their contents.

A pin stands in the repository beside the data set's spec and enters the key, where the folder's path does not: another
copy of the same files is the same data, and a changed folder is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from mimflow.artifacts.manifest import sha256_of
from mimflow.data.sources.folder import ImageFolder
from mimflow.errors import DataError
from mimflow.spec.base import OUTSIDE_KEY, Count, Sha256, Spec

READERS = 8
"""Files that are read at once for their digests: more than cores, because disks and file servers have latency."""


class Pin(Spec):
    """The files of a folder of images."""

    images: Annotated[Count, OUTSIDE_KEY]
    """How many there are."""
    bytes: Annotated[int, OUTSIDE_KEY]
    """Their sizes, added up."""
    listing: Sha256
    """The digest of their names and sizes."""
    content: Sha256 | None = None
    """The digest of their names and contents; null where only names and sizes were taken."""


def listing_digest(sizes: Iterable[tuple[str, int]]) -> str:
    """SHA-256 over names, relative to the folder, and sizes in bytes; in whatever order they come."""
    return _digest((name, str(size)) for name, size in sizes)


def content_digest(digests: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over names, relative to the folder, and the files' own digests; in whatever order they come."""
    return _digest(digests)


def _digest(pairs: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(pairs):
        digest.update(f"{name}\0{text}\n".encode())
    return digest.hexdigest()


def pin_of(folder: ImageFolder, stamps: Iterable[tuple[str, int, int]]) -> Pin:
    """The pin of a folder by names and sizes, as `ImageFolder.stamps` gives them. DataError if it holds no images."""
    sizes = [(name, size) for name, size, _ in stamps]
    if not sizes:
        raise DataError(f"{folder.root}: no images to pin")
    return Pin(images=len(sizes), bytes=sum(size for _, size in sizes), listing=listing_digest(sizes))


def read_folder(folder: ImageFolder, by_split: bool, done: Callable[[int], None]) -> Pin:
    """The pin of a folder as it is now, contents included; `done` is told how many files have been read."""
    stamps = list(folder.stamps(by_split))
    pin, names = pin_of(folder, stamps), [name for name, *_ in stamps]
    digests = []
    with ThreadPoolExecutor(READERS) as pool:
        for name, digest in zip(names, pool.map(lambda name: _digest_of(folder, name), names), strict=True):
            digests.append((name, digest))
            done(len(digests))
    return pin.model_copy(update={"content": content_digest(digests)})


def _digest_of(folder: ImageFolder, name: str) -> str:
    """A file's digest; empty for one that can't be read, as preparing it records."""
    try:
        return sha256_of(folder.root / name)
    except OSError:
        return ""
