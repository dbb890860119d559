"""What a job does while it is not done, as its files tell: who is at work on it, how far it is, why it gave up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimflow.artifacts.lock import holder
from mimflow.plan import paths
from mimflow.progress import RECORD, duration

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
    """What it showed last: the loss."""
    validation: dict[str, float | None] = field(default_factory=dict)
    """Figures on the validation split, of the last snapshot."""
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
    at_work = next((held for lock in paths.work_locks(root, job) if (held := holder(lock))), None)
    attempts = [(_time(folder), folder) for folder in paths.work(root, job).glob("[!.]*") if folder.is_dir()]
    if not attempts:
        return Activity(job, at_work) if at_work else None
    # Attempts with other code may lie beside it; the last that anybody worked on is the one.
    when, folder = max(attempts)
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
        figures=_figures(record, "figures"),
        validation=_figures(record, "validation"),
        warning=str(record.get("warning", "")),
        failure=failure if not at_work else "",
        silent=max(0.0, time.time() - when) if at_work else 0.0,
    )


def activities(root: Path) -> Iterator[Activity]:
    """The work on every job of a project that is under way or was given up, by id."""
    folder = paths.work(root, "")
    jobs = {path.name.partition(".")[0] for path in folder.glob("[!.]*")}
    return (found for job in sorted(jobs) if (found := activity(root, job)) is not None)


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
