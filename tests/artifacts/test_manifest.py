"""A manifest is what was written, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from artifacts import store_artifact, train_facts

from mimflow.artifacts.manifest import MANIFEST, Artifact, read_manifest
from mimflow.errors import ArtifactError

pytestmark = pytest.mark.fault("manifests")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"weights")
    store_artifact(tmp_path, stage="train", name="tiny", facts=train_facts())
    return tmp_path / MANIFEST


def changed(path: Path, *place: str, value: Any) -> None:
    """Change one field of a manifest by hand."""
    data = json.loads(path.read_text(encoding="utf-8"))
    within = data
    for name in place[:-1]:
        within = within[name]
    within[place[-1]] = value
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("facts", "system_parameters"), 466_300_000),
        (("facts", "more"), 1),
        (("files", "weights", "sha256"), "0" * 64),
        (("key",), "1" * 64),
        (("made", "source"), "1" * 64),
        (("name",), "other"),
        (("sha256",), "0" * 64),
        (("sha256",), None),
    ],
    ids=lambda given: ".".join(given) if isinstance(given, tuple) else "",
)
def test_a_field_changed_by_hand_is_refused(place: tuple[str, ...], value: Any, manifest: Path) -> None:
    changed(manifest, *place, value=value)
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(manifest.parent)
    assert str(caught.value) == (
        f"{manifest}: not as it was written: its SHA-256 is not the one that it says "
        f"(delete {manifest.parent} and run again)"
    )


def test_spaces_and_the_order_of_keys_are_not_its_content(manifest: Path) -> None:
    before = read_manifest(manifest)
    data = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(dict(reversed(data.items()))), encoding="utf-8")
    assert read_manifest(manifest) == before


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"text"', "[" * 100_000, '{"a": 1}'])
def test_something_else_in_its_place_is_a_line(text: str, manifest: Path) -> None:
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=rf"^{manifest}: (not a manifest|manifest of format None)[^\n]*$"):
        read_manifest(manifest)


def test_one_without_a_digest_of_an_older_format_says_so(manifest: Path) -> None:
    data = json.loads(manifest.read_text(encoding="utf-8"))
    del data["sha256"]
    manifest.write_text(json.dumps(data | {"format": 1}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="manifest of format 1, this version reads 2"):
        read_manifest(manifest)
