"""A log as it grows, for those who watch: a file beside the work, and writers that a run's `compute.watch` names."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mimflow.artifacts.log import GrowingLog

SILENT = 30.0
"""Seconds after which a row is shown though none has ended."""


class RowWriter(Protocol):
    """Something that shows rows of a log."""

    def begin(self, step: int) -> None:
        """Show rows behind `step` from now on, in place of those that an earlier process has shown."""

    def add(self, row: Mapping[str, float]) -> None:
        """Show a row: its `step` and figures by name."""

    def close(self) -> None:
        """Nothing more comes."""


class Live:
    """Rows go to a log at `path` that grows, and to writers, as soon as they are made."""

    def __init__(self, path: Path, writers: Sequence[RowWriter] = ()):
        self.log = GrowingLog(path)
        self.writers = writers
        self._last = time.monotonic()

    def begin(self, rows: Sequence[Mapping[str, float]], step: int) -> None:
        """Go on behind `step`, with the rows that there are so far."""
        self.log.begin(rows, step)
        for writer in self.writers:
            writer.begin(step)

    @property
    def due(self) -> bool:
        """Whether a row is to be shown though none has ended."""
        return time.monotonic() - self._last >= SILENT

    def add(self, row: Mapping[str, float], seconds: float, kept: bool) -> None:
        """Show a row, made after so many seconds of training, that the finished log will have or not."""
        self._last = time.monotonic()
        self.log.add(row, seconds, kept)
        for writer in self.writers:
            writer.add(row)

    def close(self) -> None:
        """Nothing more comes."""
        for writer in self.writers:
            writer.close()
