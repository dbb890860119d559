"""Finished folders of the store, for tests of the stages that read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.data import DataFacts
from mimflow.artifacts.facts import plain
from mimflow.artifacts.manifest import MANIFEST, Artifact, Manifest, read_manifest, record_files


def store_artifact(
    folder: Path, *, stage: str, name: str, facts: object = None, task: dict[str, Any] | None = None
) -> Artifact:
    """The files in `folder` as the artifact of a job; `facts` is the dataclass that its stage gave, or nothing."""
    manifest = Manifest(
        stage=stage,
        name=name,
        key="0" * 64,
        task=task or {},
        inputs={},
        files=record_files(folder),
        facts={} if facts is None else plain(facts),
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return Artifact.open(folder)


def rewrite_manifest(path: Path, **changes: Any) -> None:
    """Put other fields into a manifest, as a job that found them so would have written it."""
    path.write_text(replace(read_manifest(path), **changes).to_json(), encoding="utf-8")


def data_facts(classes: str | list[str], train: int = 0, val: int = 0, split: str = "folders") -> DataFacts:
    """Facts of a data set that has these classes and nothing else to say."""
    names = list(classes)
    nothing = {"train": [0] * len(names), "val": [0] * len(names)}
    return DataFacts(split, names, {"train": train, "val": val}, nothing, 0, [])


def train_facts(val: dict[str, float | None] | None = None) -> TrainFacts:
    """Facts of a phase that had these figures on the validation split and nothing else to say."""
    return TrainFacts(
        parameters={"total": 0},
        system_parameters=0,
        steps=0,
        epochs=0.0,
        final={},
        val=val or {},
        seconds=0.0,
        peak_memory_mb=0.0,
        device="cpu",
    )
