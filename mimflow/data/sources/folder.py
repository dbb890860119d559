"""Folders of images in ImageNet's layout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mimflow.data.sources.base import SPLITS, BadImageError, Item, Listing, Source
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class ImageFolder(Source):
    """`path/train/<class>/…` and `path/val/<class>/…`, or `path/<class>/…`.

    As torchvision's ImageFolder has it: classes are sorted by name, a class takes in its sub-folders, links
    are followed, files with other endings are no images. Names that begin with a dot are left out. Images
    come in the order of their paths.
    """

    def __init__(self, spec: ImageFolderSpec):
        self.root = folder_of(spec)
        self.skips_bad = spec.on_bad == "skip"

    def listing(self, by_split: bool) -> Listing:
        layout = " and ".join(f"{top}/<class>/<image>" for top in self._tops(by_split))
        for top in (self.root, *self._tops(by_split)):
            if not top.is_dir():
                raise DataError(f"{top}: no such folder (expected {layout})")
        classes = [_folders(top) for top in self._tops(by_split)]
        if by_split and classes[0] != classes[1]:
            raise DataError(f"{self.root}: train and val have different classes: {_difference(*classes)}")
        if not classes[0]:
            raise DataError(f"{self.root}: no images (expected {layout}; one folder for all if no classes)")
        labels = {name: label for label, name in enumerate(classes[0])}
        items = tuple(
            Item(name, labels[category], split, *stamp(entry)) for name, category, split, entry in self._files(by_split)
        )
        self._refuse_empty(items, classes[0], by_split)
        return Listing(tuple(classes[0]), items)

    def names(self, by_split: bool) -> list[str]:
        """The paths of its images, relative to the folder, without looking for faults."""
        return [name for name, *_ in self._files(by_split)]

    def stamps(self, by_split: bool) -> Iterator[tuple[str, int, int]]:
        """Path, size and time of the last change of its images, as `stamp` gives them."""
        for name, _, _, entry in self._files(by_split):
            yield name, *stamp(entry)

    def fetch(self, item: Item) -> bytes:
        try:
            return (self.root / item.name).read_bytes()
        except OSError as error:
            raise BadImageError(f"can't be opened: {error.strerror or error}") from error

    def where(self, item: Item) -> str:
        return str(self.root / item.name)

    def _tops(self, by_split: bool) -> list[Path]:
        return [self.root / split for split in SPLITS] if by_split else [self.root]

    def _files(self, by_split: bool) -> Iterator[tuple[str, str, str | None, os.DirEntry[str]]]:
        """Relative path, class, split and directory entry of every image."""
        for top in self._tops(by_split):
            for category in _folders(top) if top.is_dir() else []:
                split = top.name if by_split else None
                start = f"{split}/{category}" if split else category
                images = dict(_images(top / category, start, frozenset()))
                for name in sorted(images):
                    yield name, category, split, images[name]

    def _refuse_empty(self, items: tuple[Item, ...], classes: list[str], by_split: bool) -> None:
        found = {(item.split, item.label) for item in items}
        if not found:
            raise DataError(f"{self.root}: no images in its {len(classes)} class folders ({_endings()})")
        for split in SPLITS if by_split else [None]:
            for label, name in enumerate(classes):
                if (split, label) not in found:
                    folder = self.root / (split or "") / name
                    raise DataError(f"{folder}: a class without images ({_endings()}; fill or remove it)")


def folder_of(spec: ImageFolderSpec) -> Path:
    """The folder that a spec names: `~` is the home, a relative path starts at the current directory."""
    try:
        return Path(spec.path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{spec.path}: there is no such home (write the path out)") from error


def stamp(path: Path | os.DirEntry[str]) -> tuple[int, int]:
    """Size and time of the last change of a file; zeros if there is none, or none that can be looked at.

    A copy may keep the modification time of what it was copied from, so the inode's change time counts too.
    """
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)


def _folders(top: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(top) if _is(entry.is_dir))


def _images(folder: Path, name: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """`name`/… and the entry of every image below a folder, whose ancestors are `above`, by device and inode."""
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: can't be looked at: {error.strerror or error}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise DataError(f"{folder}: a link to a folder that holds it (remove the link)")
    for entry in _entries(folder):
        if _is(entry.is_dir):
            yield from _images(Path(entry.path), f"{name}/{entry.name}", above | {identity})
        # A link that leads nowhere, or to itself, is an image that can't be read; a pipe or a socket is none.
        elif entry.name.lower().endswith(EXTENSIONS) and (_is(entry.is_file) or not _is(Path(entry.path).exists)):
            yield f"{name}/{entry.name}", entry


def _is(asked: Callable[[], bool]) -> bool:
    """What the system says of a file; False where it says an error: a link to itself, a folder that is closed."""
    try:
        return asked()
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: can't be listed: {error.strerror or error}") from error
    for entry in entries:
        if any(character < " " or "\ud800" <= character <= "\udfff" for character in entry.name):
            raise DataError(f"{folder}: control characters, or not UTF-8: {entry.name!a} (rename it)")
    return entries


def _difference(train: list[str], val: list[str]) -> str:
    sides = [("train", set(train) - set(val)), ("val", set(val) - set(train))]
    return "; ".join(f"only in {split}: {_some(sorted(names))}" for split, names in sides if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _endings() -> str:
    return "images end in " + ", ".join(EXTENSIONS)
