"""Large files are hashed once per machine, and what is remembered of them is never believed against what is asked."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from mimflow.artifacts import verified
from mimflow.artifacts.manifest import Artifact, Manifest, record_files, sha256_of
from mimflow.artifacts.verified import has_digest, remembering
from mimflow.errors import ArtifactError

pytestmark = pytest.mark.fault("manifests")

TEXT = b"0123456789"
SHA256 = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read to be hashed; all count as large, and as settled."""
    read: list[Path] = []
    monkeypatch.setattr(verified, "LARGE", 1)
    monkeypatch.setattr(verified, "SETTLED_NS", -(10**9))
    monkeypatch.setattr(verified, "sha256_of", lambda path: (read.append(path), sha256_of(path))[1])
    return read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(TEXT)
    return path


def test_a_file_is_read_once(file: Path, tmp_path: Path, hashed: list[Path]) -> None:
    for _ in range(3):
        with remembering(tmp_path / "memory"):
            assert has_digest(file, SHA256) == (True, SHA256)
    assert hashed == [file]


@pytest.mark.parametrize("what", ["content", "size", "time put back", "another in its place"])
def test_a_file_that_was_written_to_is_read_again(file: Path, tmp_path: Path, hashed: list[Path], what: str) -> None:
    with remembering(tmp_path / "memory"):
        has_digest(file, SHA256)
        before = file.stat()
        time.sleep(0.02)
        if what == "another in its place":
            file.rename(tmp_path / "old")
        file.write_bytes(TEXT + b"!" if what == "size" else b"9876543210")
        if what in ("time put back", "another in its place"):
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        whole, found = has_digest(file, SHA256)
    assert not whole and found == sha256_of(file)


@pytest.mark.parametrize("entry", ["", "[", "{}", "another digest"])
def test_a_wrong_entry_is_not_believed(file: Path, tmp_path: Path, hashed: list[Path], entry: str) -> None:
    with remembering(tmp_path / "memory"):
        has_digest(file, SHA256)
        (path,) = (tmp_path / "memory").rglob("*.json")
        known = json.loads(path.read_text())
        path.write_text(json.dumps(known | {"sha256": "0" * 64}) if entry == "another digest" else entry)
        assert has_digest(file, SHA256) == (True, SHA256) and len(hashed) == 2
        assert has_digest(file, "1" * 64) == (False, SHA256), "what is remembered is not what is asked"


def test_one_that_was_just_written_is_not_remembered(
    file: Path, tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified, "SETTLED_NS", 10**12)
    with remembering(tmp_path / "memory"):
        has_digest(file, SHA256)
        has_digest(file, SHA256)
    assert len(hashed) == 2


def test_small_files_are_read_whenever_they_are_asked_for(
    file: Path, tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified, "LARGE", len(TEXT) + 1)
    with remembering(tmp_path / "memory"):
        has_digest(file, SHA256)
        has_digest(file, SHA256)
    assert len(hashed) == 2


def test_where_nothing_can_be_remembered_files_are_read(file: Path, tmp_path: Path, hashed: list[Path]) -> None:
    (tmp_path / "memory").write_text("a file in its place")
    with remembering(tmp_path / "memory"):
        assert has_digest(file, SHA256) == has_digest(file, SHA256) == (True, SHA256)
    assert len(hashed) == 2


def test_a_file_of_an_artifact_is_refused_once_it_is_another(file: Path, tmp_path: Path, hashed: list[Path]) -> None:
    manifest = Manifest("prepare", "x", "k", {}, {}, record_files(tmp_path))
    artifact = Artifact(tmp_path, manifest)
    with remembering(tmp_path / "memory"):
        assert artifact.file("large") == artifact.file("large") == file
        assert hashed == [file]
        file.write_bytes(b"9876543210")
        with pytest.raises(ArtifactError, match="SHA-256"):
            artifact.file("large")
