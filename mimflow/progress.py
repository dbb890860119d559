"""Progress of a job, a line at a time: stage, step, images a second, time left. The same in a file, for `status`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

RECORD = "progress.json"
"""The file of an attempt's folder that says how far its job has come."""
RECORD_SECONDS = 1.0
"""Seconds between two writes of it, at least."""


def duration(seconds: float) -> str:
    """`75` → `1:15`, `4000` → `1:06:40`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def report(text: object, stream: TextIO | None) -> None:
    """Print a line, unless the stream is closed, full or was never there: a line that is not read is not an error."""
    # A process started with a closed standard error has None for it, and `print` would take standard output.
    if stream is not None:
        with suppress(OSError, ValueError):
            print(text, file=stream, flush=True)


class Progress:
    """Prints how far a job has come, at most every `interval` seconds. Lines of jobs side by side stay readable.

    A `quiet` one prints nothing.
    """

    def __init__(self, label: str, interval: float = 10.0, stream: TextIO | None = None, quiet: bool = False):
        self.label = label
        self.interval = interval
        self.stream = None if quiet else sys.stderr if stream is None else stream
        self._record: Path | None = None
        self._validated: dict[str, float | None] = {}
        self._validated_at = 0
        self._warning = ""
        self.start(0)

    def record_at(self, path: Path) -> None:
        """Keep a record of how far the job has come at `path`, for other processes to read."""
        self._record = path
        self._write(time.monotonic())

    def start(self, total: int, done: int = 0, unit: str = "step") -> None:
        """Begin to count towards `total`, `done` of which an earlier attempt has done."""
        self.total, self.unit = total, unit
        self._first = self._done = done
        self._images = 0
        self._began = time.monotonic()
        self._printed = self._began
        self._shown: dict[str, float] = {}
        self._write(self._began)

    def advance(self, done: int, images: int = 0, **shown: float) -> None:
        """`done` of the total are done, with `images` more images since the last call; `shown` are figures to print."""
        self._done = done
        self._images += images
        self._shown = shown
        now = time.monotonic()
        if now - self._written >= RECORD_SECONDS or done == self.total:
            self._write(now)
        if now - self._printed >= self.interval or done == self.total:
            self._printed = now
            self.say(self._line(now, shown))

    def say(self, text: str) -> None:
        """Print a line under the job's label. Where nobody listens any more, the work goes on without."""
        report(f"[{self.label}] {text}", self.stream)

    def validated(self, figures: Mapping[str, float | None], step: int) -> None:
        """Keep the figures of a validation after so many steps in the record."""
        self._validated, self._validated_at = dict(figures), step
        self._write(time.monotonic())

    def warn(self, text: str) -> None:
        """Print a line, and keep it in the record as what was last amiss."""
        self._warning = text
        self.say(text)
        self._write(time.monotonic())

    def _write(self, now: float) -> None:
        """Replace the record. A disk that is full does not stop the job for that."""
        self._written = now
        if self._record is None:
            return
        record: dict[str, Any] = {
            "job": self.label,
            "unit": self.unit,
            "done": self._done,
            "total": self.total,
            "first": self._first,
            "images": self._images,
            "seconds": round(now - self._began, 3),
            "figures": self._shown,
            "validation": self._validated,
            "validated_at": self._validated_at,
            "warning": self._warning,
        }
        # A name that begins with a dot is swept away where a killed process has left it.
        temporary = self._record.with_name(f".{self._record.name}")
        with suppress(OSError):
            temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
            temporary.replace(self._record)

    def _line(self, now: float, shown: dict[str, float]) -> str:
        elapsed = max(now - self._began, 1e-9)
        parts = [f"{self.unit} {self._done}/{self.total}"]
        parts += [f"{name} {value:.4g}" for name, value in shown.items()]
        if self._images:
            parts.append(f"{self._images / elapsed:.0f} images/s")
        if self._done > self._first:
            left = elapsed / (self._done - self._first) * (self.total - self._done)
            parts.append(f"{duration(left)} left" if self._done < self.total else f"took {duration(elapsed)}")
        return "  ".join(parts)
