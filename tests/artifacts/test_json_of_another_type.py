"""JSON that is not what it should be, wherever a file of ours is read back: an error in a line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimflow.artifacts.manifest import Manifest, read_manifest
from mimflow.artifacts.metrics import read_metrics
from mimflow.errors import ArtifactError, SpecError
from mimflow.plan.pull import missing_outputs

pytestmark = pytest.mark.fault("manifests")

TEXTS = ["", "[]", "3", "null", '"text"', "{}", "[" * 100_000, '{"files": []}', '{"files": {"a": 3}}', "\0", "NaN"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json: .*\(delete .* and run again\)") as caught:
        read_manifest(tmp_path / "manifest.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["stage", "name", "key", "task", "inputs", "files", "facts", "made"])
def test_a_field_of_another_type(tmp_path: Path, field: str) -> None:
    fields = {"stage": "s", "name": "n", "key": "k", "task": {}, "inputs": {}, "files": {}, "facts": {}, "made": {}}
    with pytest.raises(TypeError, match=f"{field} is a list, not a "):
        Manifest(**(fields | {field: []}))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(Manifest(**fields).to_json()) | {field: []}))
    with pytest.raises(ArtifactError, match=r"manifest\.json: not "):
        read_manifest(path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"count": "many"}', '{"count": 3, "fid": 2}', '{"count": 3, "fid": {"value": "low"}}']
)
def test_no_metrics(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    artifact = SimpleNamespace(folder=tmp_path, file=lambda name: tmp_path / name)
    with pytest.raises(ArtifactError, match=r"metrics\.json: not metrics: .*\(delete .* and run again\)") as caught:
        read_metrics(artifact)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["stages: [1]", "stages: {a: 3}", "stages: {a: {outs: [x]}}", "stages: {a: {outs: [{}]}}"]
)
def test_no_lock_of_dvcs(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(SpecError, match=r"^dvc\.lock:1:1: not as DVC writes it"):
        missing_outputs(tmp_path)
