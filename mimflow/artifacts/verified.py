"""Digests of large files that this machine has computed already: a file is hashed once, not at the start of every job.

What is remembered of a file is its digest with all that changes when it is written to: size, inode, the times of its
content and of its inode. A digest is of use only if it is the one that was asked for, so a wrong entry costs a second
look and is never believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimflow.artifacts.manifest import sha256_of, write_text
from mimflow.errors import StorageError

FOLDER = ".mimflow/verified"
"""Where a project keeps what is remembered."""
LARGE = 64 * 2**20
"""Bytes from which a digest is worth remembering; smaller files are hashed whenever they are asked for."""
SETTLED_NS = 2 * 10**9
"""A file that was written to more recently may be written to again without another time."""

_folders: list[Path] = []


@contextmanager
def remembering(folder: Path) -> Iterator[None]:
    """Within it, digests of large files are remembered in `folder`, by machine: inodes are a machine's own."""
    _folders.append(_of_this_machine(folder))
    try:
        yield
    finally:
        _folders.pop()


def has_digest(path: Path, sha256: str) -> tuple[bool, str]:
    """Whether a file has this SHA-256, and the one that it has.

    It is read unless it is large, and was found to have this digest before and has not been written to since.
    """
    if not _folders or path.stat().st_size < LARGE:
        found = sha256_of(path)
        return found == sha256, found
    entry = _folders[-1] / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
    stamp, settled = _stamp(path), time.time_ns() - SETTLED_NS
    if _recalled(entry) == {"sha256": sha256, **stamp}:
        return True, sha256
    found = sha256_of(path)
    if stamp == _stamp(path) and max(stamp["modified_ns"], stamp["changed_ns"]) < settled:
        with suppress(StorageError, OSError):
            write_text(entry, json.dumps({"sha256": found, **stamp}))
    return found == sha256, found


def is_known(folder: Path, what: str) -> bool:
    """Whether what this digest stands for was found to be well before, on this machine."""
    return (_of_this_machine(folder) / what).exists()


def make_known(folder: Path, what: str) -> None:
    """Remember that it was; where that can't be written, it is found out again."""
    with suppress(StorageError, OSError):
        write_text(_of_this_machine(folder) / what, "")


def _of_this_machine(folder: Path) -> Path:
    return folder / socket.gethostname()


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {
        "size": status.st_size,
        "device": status.st_dev,
        "inode": status.st_ino,
        "modified_ns": status.st_mtime_ns,
        "changed_ns": status.st_ctime_ns,
    }


def _recalled(entry: Path) -> object:
    try:
        return json.loads(entry.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
