"""Folders of images in ImageNet's layout."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mimflow.data.sources.base import SPLITS, BadImageError, Item, Listing, Source
from mimflow.data.sources.spec import ImageFolderSpec
from mimflow.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".tif", ".tiff")
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
"""How files begin that are images whatever they are called; WebP's has its size in between."""


class ImageFolder(Source):
    """`path/train/<class>/…` and `path/val/<class>/…`, or `path/<class>/…`.

    As torchvision's ImageFolder has it: classes are sorted by name, a class takes in its sub-folders, links
    are followed, files with other endings are no images; one without an ending is an image if it begins like one.
    Names that begin with a dot are left out. What is left out is counted by ending. Images come in the order of
    their paths.
    """

    def __init__(self, spec: ImageFolderSpec):
        self.root = folder_of(spec)
        self.skips_bad = spec.on_bad == "skip"
        self.max_pixels = spec.max_pixels

    def listing(self, by_split: bool) -> Listing:
        layout = " and ".join(f"{top}/<class>/<image>" for top in self._tops(by_split))
        for top in (self.root, *self._tops(by_split)):
            if not top.is_dir():
                raise DataError(f"{top}: no such folder (expected {layout})")
        classes = [_folders(top) for top in self._tops(by_split)]
        for top, names in zip(self._tops(by_split), classes, strict=True):
            _refuse_flat(top, names, layout)
            _refuse_alike(top, names)
        if by_split and classes[0] != classes[1]:
            raise DataError(f"{self.root}: train and val have different classes: {_difference(*classes)}")
        if not classes[0]:
            raise DataError(f"{self.root}: no images (expected {layout}; one folder for all if no classes)")
        labels = {name: label for label, name in enumerate(classes[0])}
        left_out: Counter[str] = Counter()
        files = self._files(by_split, left_out)
        items = tuple(Item(name, labels[category], split, *stamp(entry)) for name, category, split, entry in files)
        self._refuse_empty(items, classes[0], by_split, left_out)
        return Listing(tuple(classes[0]), items, dict(left_out))

    def names(self, by_split: bool) -> list[str]:
        """The paths of its images, relative to the folder, without looking for faults."""
        return [name for name, *_ in self._files(by_split, Counter())]

    def stamps(self, by_split: bool) -> Iterator[tuple[str, int, int]]:
        """Path, size and time of the last change of its images, as `stamp` gives them."""
        for name, _, _, entry in self._files(by_split, Counter()):
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

    def _files(self, by_split: bool, left_out: Counter[str]) -> Iterator[tuple[str, str, str | None, os.DirEntry[str]]]:
        """Relative path, class, split and directory entry of every image; what else there is is counted."""
        for top in self._tops(by_split):
            classes = _folders(top) if top.is_dir() else []
            beside = [entry for entry in _entries(top, left_out) if entry.name not in classes] if classes else []
            left_out.update(f"{_ending(entry.name)} beside class folders" for entry in beside)
            for category in classes:
                split = top.name if by_split else None
                start = f"{split}/{category}" if split else category
                images = dict(_images(top / category, start, frozenset(), left_out))
                for name in sorted(images):
                    yield name, category, split, images[name]

    def _refuse_empty(
        self, items: tuple[Item, ...], classes: list[str], by_split: bool, left_out: Counter[str]
    ) -> None:
        endings = _endings() + (f"; left out: {counted(left_out)}" if left_out else "")
        found = {(item.split, item.label) for item in items}
        if not found:
            raise DataError(f"{self.root}: no images in its {len(classes)} class folders ({endings})")
        for split in SPLITS if by_split else [None]:
            for label, name in enumerate(classes):
                if (split, label) not in found:
                    folder = self.root / (split or "") / name
                    raise DataError(f"{folder}: a class without images ({endings}; fill or remove it)")


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


def _images(
    folder: Path, name: str, above: frozenset[tuple[int, int]], left_out: Counter[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """`name`/… and the entry of every image below a folder, whose ancestors are `above`, by device and inode."""
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: can't be looked at: {error.strerror or error}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise DataError(f"{folder}: a link to a folder that holds it (remove the link)")
    for entry in _entries(folder, left_out):
        if _is(entry.is_dir):
            yield from _images(Path(entry.path), f"{name}/{entry.name}", above | {identity}, left_out)
        # A link that leads nowhere, or to itself, is an image that can't be read; a pipe or a socket is none.
        elif _named_like_an_image(entry) and (_is(entry.is_file) or not _is(Path(entry.path).exists)):
            yield f"{name}/{entry.name}", entry
        else:
            left_out[_ending(entry.name)] += 1


def _is(asked: Callable[[], bool]) -> bool:
    """What the system says of a file; False where it says an error: a link to itself, a folder that is closed."""
    try:
        return asked()
    except OSError:
        return False


def _named_like_an_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file ends as images do; one without an ending is looked at."""
    if entry.name.lower().endswith(EXTENSIONS):
        return True
    if Path(entry.name).suffix or not _is(entry.is_file):
        return False
    try:
        with Path(entry.path).open("rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    return start.startswith(SIGNATURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _ending(name: str) -> str:
    """What a file that is left out is counted under."""
    return Path(name).suffix.lower() or "without ending"


def counted(left_out: Mapping[str, int]) -> str:
    """`12 .txt, 3 without ending`: what was left out, the most first."""
    return ", ".join(f"{count:,} {ending}" for ending, count in sorted(left_out.items(), key=lambda each: -each[1]))


def _entries(folder: Path, left_out: Counter[str] | None = None) -> list[os.DirEntry[str]]:
    """What lies in a folder but hidden names, which are counted."""
    try:
        with os.scandir(folder) as found:
            every = list(found)
    except OSError as error:
        raise DataError(f"{folder}: can't be listed: {error.strerror or error}") from error
    entries = [entry for entry in every if not entry.name.startswith(".")]
    if left_out is not None and len(entries) < len(every):
        left_out["hidden"] += len(every) - len(entries)
    for entry in entries:
        if any(character < " " or "\ud800" <= character <= "\udfff" for character in entry.name):
            raise DataError(f"{folder}: control characters, or not UTF-8: {entry.name!a} (rename it)")
    return entries


def _refuse_flat(top: Path, classes: list[str], layout: str) -> None:
    """DataError for a folder that has images, but no folders of classes: ImageNet's `val` as it is published."""
    images = 0 if classes else sum(_named_like_an_image(entry) for entry in _entries(top))
    if images:
        raise DataError(
            f"{top}: {images:,} image{'s' * (images != 1)} directly in it and no class folders (expected {layout}; "
            "one folder for all if no classes)"
        )


def _refuse_alike(top: Path, classes: list[str]) -> None:
    """DataError for two classes whose names look the same, which are one to some file systems and two to others."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise DataError(f"{top}: two class names look the same: {other!a} and {name!a} (rename or merge them)")


def _difference(train: list[str], val: list[str]) -> str:
    alike = [
        (name, other)
        for name in set(train) - set(val)
        for other in set(val) - set(train)
        if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
    ]
    if alike:
        name, other = min(alike)
        return f"{name} is {name!a} in train and {other!a} in val: they look the same (rename one, to NFC)"
    sides = [("train", set(train) - set(val)), ("val", set(val) - set(train))]
    return "; ".join(f"only in {split}: {_some(sorted(names))}" for split, names in sides if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _endings() -> str:
    return "images end in " + ", ".join(EXTENSIONS)
