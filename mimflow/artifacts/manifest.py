"""Manifests: what a folder of the store holds, what it was made from, by what, where and how long it took."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mimflow.errors import ArtifactError, StorageError

MANIFEST = "manifest.json"
FORMAT = 2


def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal data, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then move it into place; on failure nothing is left.

    Never writes through a link: files of the store may be links into DVC's cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: can't write: {error.strerror or error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _require_types(value: Any, **types: type) -> None:
    """TypeError for a field that a file gives in another type of JSON."""
    for name, kind in types.items():
        if not isinstance(getattr(value, name), kind):
            raise TypeError(f"{name} is a {type(getattr(value, name)).__name__}, not a {kind.__name__}")


@dataclass(frozen=True)
class FileRecord:
    """One file of an artifact."""

    sha256: str
    size: int

    def __post_init__(self) -> None:
        _require_types(self, sha256=str, size=int)


@dataclass(frozen=True)
class Manifest:
    """All that is known about an artifact."""

    stage: str
    name: str
    key: str
    task: dict[str, Any]
    """The identity that was hashed into the key."""
    inputs: dict[str, str]
    """Upstream keys by role."""
    files: dict[str, FileRecord]
    facts: dict[str, Any] = field(default_factory=dict)
    """What the stage found out: counts, parameters, accuracies, final losses, images skipped."""
    made: dict[str, Any] = field(default_factory=dict)
    """How: commit, versions, hardware, threads, seconds, peak memory, digest of the stage's source."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        _require_types(self, stage=str, name=str, key=str, task=dict, inputs=dict, files=dict, facts=dict, made=dict)
        if not all(isinstance(key, str) for key in self.inputs.values()):
            raise TypeError("inputs are not all keys")

    def to_json(self) -> str:
        """Its text: all its fields, and their digest as `sha256`, the last."""
        data = json.loads(json.dumps(asdict(self), allow_nan=False))
        return json.dumps(data | {"sha256": _digest(data)}, indent=1, ensure_ascii=False) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file; ArtifactError if it is missing, not one, or not as it was written."""
    again = f"(delete {path.parent} and run again)"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found, digest = data.get("format"), data.pop("sha256", None)
        if found != FORMAT:
            raise ArtifactError(f"{path}: manifest of format {found}, this version reads {FORMAT} {again}")
        if digest != _digest(data):
            raise ArtifactError(f"{path}: not as it was written: its SHA-256 is not the one that it says {again}")
        files = {name: FileRecord(**record) for name, record in data.pop("files").items()}
        return Manifest(files=files, **data)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: missing (run the job that makes it, or `dvc pull`)") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{path}: not a manifest: {error} {again}") from error


def _digest(data: Any) -> str:
    """The SHA-256 of a manifest's fields, as data that JSON holds: spaces and the order of keys do not matter."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished folder of the store. Files are verified when they are asked for, large ones once per machine."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """The artifact in `folder`; ArtifactError if its manifest is missing or broken."""
        return cls(folder, read_manifest(folder / MANIFEST))

    def file(self, name: str) -> Path:
        """The path of one of its files, once size and SHA-256 have been found to be the manifest's."""
        record = self.manifest.files.get(name)
        path = self.folder / name
        if record is None:
            raise ArtifactError(f"{self.folder}: its manifest names no file '{name}'")
        if not path.exists():
            raise ArtifactError(f"{path}: missing (`dvc pull`, or delete {self.folder} and run again)")
        size = path.stat().st_size
        if size != record.size:
            raise ArtifactError(
                f"{path}: {size} bytes, its manifest says {record.size} (corrupt: delete {self.folder})"
            )
        from mimflow.artifacts.verified import has_digest  # which hashes with what stands above

        whole, found = has_digest(path, record.sha256)
        if not whole:
            raise ArtifactError(
                f"{path}: SHA-256 {found[:12]}…, its manifest says {record.sha256[:12]}… "
                f"(corrupt: delete {self.folder})"
            )
        return path


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Digests and sizes of every file below `folder` but the manifest."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(sha256_of(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
