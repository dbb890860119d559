"""What a job does while it is not done, as its files tell: who is at work on it, how far it is, why it gave up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimflow.artifacts.lock import holder
from mimflow.artifacts.log import LEADING, LOG, VALIDATION, read_growing
from mimflow.plan import paths
from mimflow.progress import RECORD, duration

SHOWN = ("loss", "grad_norm")
"""What the names of figures end with that are shown of a training's last row: those of every player."""
SILENT = 60.0
"""Seconds after which it is worth saying that a job that runs has not said how far it is."""


@dataclass(frozen=True)
class Activity:
    """An attempt at a job, of which the result is not there yet."""

    job: str
    """Its id."""
    holder: str | None
    """The process that is at work on it: `process 12 on host`."""
    name: str = ""
    """Stage and name, as in `train tarflow.main.s0`; empty if it has not begun to say how far it is."""
    unit: str = "step"
    done: int = 0
    total: int = 0
    """Steps or images that it will take; 0 while that is not known."""
    per_second: float = 0.0
    """Steps or images of the present process."""
    images_per_second: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    """What it showed last: losses and norms of gradients of the last row of its log."""
    validation: dict[str, float | None] = field(default_factory=dict)
    """Figures of the last look at the validation split."""
    validated_at: int = 0
    """The step of that look."""
    best: tuple[float, int] | None = None
    """The least loss on the validation split that its log knows of, and at which step it was."""
    warning: str = ""
    """What was last amiss."""
    failure: str = ""
    """Why it gave up."""
    silent: float = 0.0
    """Seconds since it last said how far it is."""

    @property
    def state(self) -> str:
        """`running`, `failed` or `interrupted`."""
        return "running" if self.holder else "failed" if self.failure else "interrupted"

    @property
    def place(self) -> str:
        """`step 120 of 1000`; empty while nothing is counted."""
        return f"{self.unit} {self.done} of {self.total}" if self.total else ""

    @property
    def words(self) -> str:
        """State and place in a line: `interrupted at step 120 of 1000`, `failed: loss is nan at step 3 of 60`."""
        if self.state == "failed":
            return f"failed: {self.failure}"
        return f"{self.state} at {self.place}" if self.place else self.state

    @property
    def seconds_left(self) -> float | None:
        """At the speed of now; None where that is not known."""
        return (self.total - self.done) / self.per_second if self.per_second and self.total else None

    @property
    def health(self) -> str:
        """What is amiss with one that runs, or `sound`."""
        found = [self.warning] if self.warning else []
        if self.silent > SILENT:
            found.append(f"has said nothing for {duration(self.silent)}")
        return "; ".join(found) or "sound"


def activity(root: Path, job: str) -> Activity | None:
    """What is known of the work on a job; None if there is none, or none any more."""
    if not paths.work(root, job).is_dir() and not paths.work_lock(root, job).exists():
        return None  # to look for the locks of its shards would list the work on all jobs
    at_work = next((held for lock in paths.work_locks(root, job) if (held := holder(lock))), None)
    folder = _last_attempt(root, job)
    if folder is None:
        return Activity(job, at_work) if at_work else None
    rows = read_growing(folder / LOG)
    record, failure = _read(folder / RECORD), _text(folder / paths.FAILURE)
    done, total = _number(record, "done"), _number(record, "total")
    seconds = _number(record, "seconds")
    speed = max(0.0, done - _number(record, "first")) / seconds if seconds else 0.0
    if not at_work and record.get("unit", "step") == "step":
        # The next process goes on from the last checkpoint, however far this one had come.
        done = _checkpoint_step(folder)
    return Activity(
        job=job,
        holder=at_work,
        name=str(record.get("job", "")),
        unit=str(record.get("unit", "step")),
        done=int(done),
        total=int(total),
        per_second=speed,
        images_per_second=_number(record, "images") / seconds if seconds else 0.0,
        figures=_figures(record, "figures") | _last_figures(rows),
        validation=_figures(record, "validation"),
        validated_at=int(_number(record, "validated_at")),
        best=_best(rows),
        warning=str(record.get("warning", "")),
        failure=failure if not at_work else "",
        silent=max(0.0, time.time() - _time(folder)) if at_work else 0.0,
    )


def activities(root: Path) -> Iterator[Activity]:
    """The work on every job of a project that is under way or was given up, by id."""
    return (found for job in sorted(worked_on(root)) if (found := activity(root, job)) is not None)


def worked_on(root: Path) -> set[str]:
    """The jobs, by id, that there are traces of work on: for all others `activity` is None."""
    return {path.name.partition(".")[0] for path in paths.work(root, "").glob("[!.]*")}


def rows_so_far(root: Path, job: str) -> list[dict[str, float]]:
    """The rows that the log of a training which is not done has so far; none of one that has not begun."""
    folder = _last_attempt(root, job)
    return [] if folder is None else read_growing(folder / LOG)


def _last_attempt(root: Path, job: str) -> Path | None:
    """The folder of the attempt that anybody worked on last: some with other code may lie beside it."""
    attempts = [(_time(folder), folder) for folder in paths.work(root, job).glob("[!.]*") if folder.is_dir()]
    return max(attempts)[1] if attempts else None


def _last_figures(rows: list[dict[str, float]]) -> dict[str, float]:
    last = rows[-1] if rows else {}
    named = sorted((name for name in last if name.endswith(SHOWN)), key=lambda name: name not in LEADING)
    return {name: last[name] for name in named if not name.startswith(VALIDATION)}


def _best(rows: list[dict[str, float]]) -> tuple[float, int] | None:
    losses = [(row[f"{VALIDATION}loss"], int(row["step"])) for row in rows if f"{VALIDATION}loss" in row]
    return min(losses, default=None)


def _checkpoint_step(attempt: Path) -> int:
    found = paths.checkpoints(attempt)
    digits = found[-1].stem.partition("-")[2] if found else ""
    return int(digits) if digits.isdigit() else 0


def _time(folder: Path) -> float:
    """When an attempt last said how far it is, or began."""
    for path in (folder / RECORD, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _read(path: Path) -> dict[str, Any]:
    """A record; nothing where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _number(record: dict[str, Any], name: str) -> float:
    value = record.get(name)
    return value if isinstance(value, (int, float)) else 0


def _figures(record: dict[str, Any], name: str) -> Any:
    found = record.get(name)
    return found if isinstance(found, dict) else {}
