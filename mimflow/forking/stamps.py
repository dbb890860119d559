"""Whether files were changed since they were read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def stamps(paths: Iterable[Path]) -> frozenset[tuple[str, int, int]]:
    """What is different when one of these files was changed, or is another: where each is, its time and its size."""
    return frozenset((str(path.absolute()), (about := path.stat()).st_mtime_ns, about.st_size) for path in paths)
