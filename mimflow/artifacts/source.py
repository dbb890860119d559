"""The source that a stage imports, as a digest: a manifest can say that code has changed since, without retraining."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
IMPORT = re.compile(r"^[ \t]*(?:from (mimflow[\w.]*) import (\([^)]*\)|[^\n]*)|import (mimflow[\w.]*))", re.MULTILINE)
"""A statement that imports from the package. Parsing two hundred files takes a second."""


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of mimflow that this one imports, by its text."""
    path = _path(module)
    if path is None:
        return frozenset()
    found: set[str] = set()
    for package, names, whole in IMPORT.findall(path.read_text(encoding="utf-8")):
        found |= {whole or package} | {f"{package}.{name}" for name in re.findall(r"\w+", names)}
    return frozenset(name for name in found if name.startswith("mimflow.") and _path(name) is not None)


def closure(modules: frozenset[str]) -> frozenset[str]:
    """These modules of mimflow and all that they import, directly or not."""
    seen: set[str] = set()
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= imports(module) - seen
    return frozenset(seen)


@cache
def source_digest(modules: frozenset[str]) -> str:
    """SHA-256 over the text of these modules and of all that they import."""
    digest = hashlib.sha256()
    for module in sorted(closure(modules)):
        path = _path(module)
        if path is not None:
            digest.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _path(module: str) -> Path | None:
    relative = Path(*module.split(".")[1:])
    for candidate in (PACKAGE / relative.with_suffix(".py"), PACKAGE / relative / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
