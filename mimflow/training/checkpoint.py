"""Checkpoints of work in progress: tensors as safetensors, the rest as JSON in their metadata, a SHA-256 beside.

A checkpoint exists once its digest does, and is of use to the job that wrote it alone. The last two are kept, so that
one that is damaged costs little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mimflow.weights.stored import digest_path, load_stored, store_tensors

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on as if it had never stopped."""

    job: str
    """The key of the job that wrote it."""
    step: int
    """Steps done."""
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    """Plain data: log rows, sums since the last of them, figures and digests of snapshots, seconds."""


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove all but the last two. StorageError leaves earlier ones whole."""
    path = folder / f"step-{checkpoint.step:09}.safetensors"
    about = {"job": checkpoint.job, "step": checkpoint.step, "record": checkpoint.record}
    store_tensors(path, checkpoint.tensors, about)
    for old in _paths(folder)[:-KEPT]:
        _remove(old)
    return path


def newest(
    folder: Path,
    job: str,
    say: Callable[[str], None],
    problem: Callable[[Checkpoint], str | None] = lambda checkpoint: None,
) -> Checkpoint | None:
    """The newest whole checkpoint of a job, or None. Others are removed, and `say` is told.

    `problem` says why a whole one can't be gone on from, if that is so.
    """
    paths = _paths(folder)
    for path in reversed(paths):
        found = _load(path)
        if found is None:
            reason = "is damaged or was not finished"
        elif found.job != job:
            reason = "is another job's"
        else:
            reason = problem(found) or ""
        if found is not None and not reason:
            return found
        say(f"checkpoint {path.name} {reason}: not used")
        _remove(path)
    if paths:
        say("no checkpoint is whole: starting anew")
    return None


def last_path(folder: Path) -> Path | None:
    """Where the newest checkpoint lies."""
    paths = _paths(folder)
    return paths[-1] if paths else None


def _load(path: Path) -> Checkpoint | None:
    stored = load_stored(path)
    if stored is None or not isinstance(stored[1], dict) or stored[1].keys() != {"job", "step", "record"}:
        return None
    return Checkpoint(tensors=stored[0], **stored[1])


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))


def _remove(path: Path) -> None:
    # The digest goes first: without it the file is no checkpoint.
    digest_path(path).unlink(missing_ok=True)
    path.unlink()
