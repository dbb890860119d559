"""Finished folders of the store, for tests of the stages that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import MANIFEST, Artifact, Manifest, record_files


def store_artifact(folder: Path, *, stage: str, name: str, facts: dict[str, Any] | None = None) -> Artifact:
    """The files in `folder` as the artifact of a job."""
    manifest = Manifest(
        stage=stage,
        name=name,
        key="0" * 64,
        task={},
        inputs={},
        files=record_files(folder),
        facts=facts or {},
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return Artifact.open(folder)
