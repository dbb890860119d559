"""What stands on the terminal while Snakemake runs: a few lines a job.

Snakemake's own logger shares the terminal with the jobs, which print their progress to it. A logger that draws there,
as the plugin `rich` does where standard error is a terminal (`profiles/default`), has it for itself: jobs then write to
their logs alone, and what they write is printed above the drawing.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from snakemake.logging import logger  # type: ignore[import-untyped]
from snakemake_interface_logger_plugins.common import LogEvent

from mimflow.progress import report

SHARED = "2> >(trap '' HUP INT TERM USR1; tee -a {log:q} >&2)"
"""Where a job's lines go, in words of the shell: to its log and to standard error. What a job says when it is asked to
stop is logged, too, where all processes of a group are."""
ALONE = ">> {log:q} 2>&1"
"""To its log alone, what it prints on standard output too."""
INTERVAL = 0.5
"""Seconds between two looks at the logs of jobs that run."""
BETWEEN_JOBS = "Select jobs to execute..."


def to_log() -> str:
    """Where the jobs' lines go, in words of the shell: to standard error too where Snakemake's own logger writes."""
    return SHARED if _own_handler() is not None else ALONE


def begin_lines() -> None:
    """Before the first job: few lines from Snakemake's own logger, and the jobs' lines where another one draws."""
    own = _own_handler()
    if own is not None:
        own.addFilter(few_lines)
    elif not any(isinstance(handler, JobLines) for handler in logger.handlers):
        logger.addHandler(JobLines())


def _own_handler() -> logging.Handler | None:
    return next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)


def few_lines(record: logging.LogRecord) -> bool:
    """Whether a line says something that no other line does: which jobs begin, how many are done, what fails."""
    event = getattr(record, "event", None)
    return event not in (LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED) and record.msg != BETWEEN_JOBS


class JobLines(logging.Handler):
    """Prints what jobs write to their logs, from when they begin until they are done; Snakemake's events say when.

    Of a job that fails the logger that draws shows the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[int, tuple[Path, int]] = {}
        threading.Thread(target=self._follow, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Begin to follow a job's log, or show the rest of it."""
        event = getattr(record, "event", None)
        if event is LogEvent.JOB_INFO and record.log:  # type: ignore[attr-defined]
            path = Path(record.log[0])  # type: ignore[attr-defined]
            with suppress(OSError):
                path.unlink()  # of an earlier attempt; Snakemake removes it, too, but later
            self._read[record.jobid] = path, 0  # type: ignore[attr-defined]
        elif event is LogEvent.JOB_FINISHED:
            self._show(record.job_id)  # type: ignore[attr-defined]
            self._read.pop(record.job_id, None)  # type: ignore[attr-defined]
        elif event is LogEvent.JOB_ERROR:
            self._read.pop(record.jobid, None)  # type: ignore[attr-defined]

    def _follow(self) -> None:
        while True:
            time.sleep(INTERVAL)
            with self.lock or threading.RLock():
                for job in list(self._read):
                    self._show(job)

    def _show(self, job: int) -> None:
        """Print the lines of a job's log that are whole and were not printed yet."""
        path, place = self._read.get(job, (None, 0))
        if path is None or not path.is_file():
            return
        with path.open("rb") as stream:
            stream.seek(place)
            text, newline, _ = stream.read().rpartition(b"\n")
        if newline:
            self._read[job] = path, place + len(text) + 1
            report(text.decode(errors="replace"), sys.stderr)  # looked up now: who draws has put its own there
