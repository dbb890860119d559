"""What is to go: temporary files that killed processes have left, and folders of the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path


def leftovers(folder: Path) -> Iterator[Path]:
    """The temporary files below a folder: nothing that is finished has a name that begins with a dot."""
    return (path for path in sorted(folder.rglob(".*")) if path.is_file() or path.is_symlink())


def sweep(folder: Path) -> None:
    """Remove the temporary files below a folder that no other process works in."""
    for path in leftovers(folder):
        path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a folder or a file if it is there; of a link only the link, because others may use what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
