"""Checkpoints of work in progress: tensors as safetensors, the rest as JSON in their metadata, a SHA-256 beside.

A checkpoint exists once its digest does. The last two are kept, so that one that is damaged costs little.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from mimflow.artifacts.manifest import sha256_of, write_text
from mimflow.weights.tensors import save_state

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on as if it had never stopped."""

    step: int
    """Steps done."""
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    """Plain data: log rows, sums since the last of them, figures of snapshots, seconds."""


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove all but the last two. StorageError leaves earlier ones whole."""
    path = folder / f"step-{checkpoint.step:09}.safetensors"
    record = json.dumps({"step": checkpoint.step, "record": checkpoint.record})
    save_state(checkpoint.tensors, path, {"mimflow": record})
    write_text(_digest(path), f"{sha256_of(path)}  {path.name}\n")
    for old in _paths(folder)[:-KEPT]:
        _remove(old)
    return path


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None. Damaged ones are removed, and `say` is told."""
    paths = _paths(folder)
    for path in reversed(paths):
        digest = _digest(path)
        if digest.is_file() and digest.read_bytes().split()[:1] == [sha256_of(path).encode()]:
            return _load(path)
        say(f"checkpoint {path.name} is damaged or was not finished: not used")
        _remove(path)
    if paths:
        say("no checkpoint is whole: starting anew")
    return None


def last_path(folder: Path) -> Path | None:
    """Where the newest checkpoint lies."""
    paths = _paths(folder)
    return paths[-1] if paths else None


def _load(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as stream:
        data = json.loads(stream.metadata()["mimflow"])
    return Checkpoint(data["step"], load_file(path), data["record"])


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))


def _digest(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _remove(path: Path) -> None:
    # The digest goes first: without it the file is no checkpoint.
    _digest(path).unlink(missing_ok=True)
    path.unlink()
