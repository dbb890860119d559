"""Checkpoints of work in progress: tensors as safetensors, the rest as JSON in their metadata, a SHA-256 beside.

A checkpoint exists once its digest does, and is of use to the job that wrote it alone. The last two are kept, so that
one that is damaged costs little. A thread writes them from a copy in the machine's memory while training goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.weights.stored import digest_path, load_stored, store_tensors

KEPT = 2
SHARE = 0.02
"""The share of its time, at most, that training gives to checkpoints where a spec says nothing."""
LEAST_SECONDS = 30.0
"""Between two checkpoints, at least, where a spec says nothing."""


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
    path = path_at(folder, checkpoint.step)
    about = {"job": checkpoint.job, "step": checkpoint.step, "record": checkpoint.record}
    store_tensors(path, checkpoint.tensors, about)
    for old in _paths(folder)[:-KEPT]:
        _remove(old)
    return path


class Writer:
    """Writes checkpoints into a folder, one at a time, in a thread of its own. Leaving it waits for the last.

    `seconds` lie between two of them; None: as many as it takes that they cost no more than `SHARE` of the time. What
    one costs is how long training stands still for it, and, where the thread `shares_cores` with training, its own time
    on them.
    """

    def __init__(self, folder: Path, seconds: float | None, shares_cores: bool):
        self.folder = folder
        self.seconds = seconds
        self.shares_cores = shares_cores
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._last = time.monotonic()
        self._stood_still = 0.0
        self._wrote = 0.0

    def __enter__(self) -> Writer:
        self._last = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    @property
    def interval(self) -> float:
        """Seconds that are to lie between the last checkpoint and the next."""
        if self.seconds is not None:
            return self.seconds
        return max(LEAST_SECONDS, (self._stood_still + self._wrote * self.shares_cores) / SHARE)

    @property
    def due(self) -> bool:
        """Whether it is time for the next. StorageError if the last could not be written."""
        if self._writing is not None and self._writing.done():
            self.finish()
        waits = self.seconds is None and self._writing is not None
        return not waits and time.monotonic() - self._last >= self.interval

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What lies within it is what training stands still for."""
        began = time.monotonic()
        yield
        self._last = time.monotonic()
        self._stood_still = self._last - began

    def begin(self, checkpoint: Checkpoint) -> None:
        """Write one once the last is written. Its tensors are no one else's: training does not change them."""
        self.finish()
        self._writing = self._pool.submit(_save_timed, self.folder, checkpoint)

    def finish(self) -> None:
        """Wait until the last one is written. StorageError if it can't be."""
        writing, self._writing = self._writing, None
        if writing is not None:
            self._wrote = writing.result()


def _save_timed(folder: Path, checkpoint: Checkpoint) -> float:
    """`save`; the seconds on a core that it took."""
    began = time.thread_time()
    save(folder, checkpoint)
    return time.thread_time() - began


def path_at(folder: Path, step: int) -> Path:
    """Where the checkpoint lies that was written after so many steps."""
    return folder / f"step-{step:09}.safetensors"


def at(folder: Path, step: int) -> Checkpoint:
    """The checkpoint that was written after so many steps; ArtifactError if it is not there, or damaged."""
    found = _load(path_at(folder, step))
    if found is None:
        raise ArtifactError(f"{path_at(folder, step)}: not there, or damaged (all processes of a job share one folder)")
    return found


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
