"""What stands on the terminal while Snakemake runs."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from projects import REPOSITORY, command, new_project
from snakemake.profiles import ProfileConfigFileParser  # type: ignore[import-untyped]
from snakemake_interface_logger_plugins.common import LogEvent

from mimflow.products.registry import open_plan
from mimflow.terminal import JobLines, few_lines

PROFILE = REPOSITORY / "profiles/default/config.yaml"


def record(message: str | None = None, **facts: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": logging.INFO} | facts)


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "term", "logger"),
    [(Terminal(), "xterm", ["rich"]), (Terminal(), "dumb", None), (io.StringIO(), "xterm", None)],
)
def test_the_rich_logger_draws_where_standard_error_is_a_terminal_that_can(
    stream: io.StringIO, term: str, logger: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    with PROFILE.open(encoding="utf-8") as profile:
        assert ProfileConfigFileParser().parse(profile).get("logger") == logger


def test_what_snakemake_says_between_jobs_is_left_out() -> None:
    said = [
        record("Select jobs to execute..."),
        record("Execute 2 jobs...", event=LogEvent.JOB_STARTED),
        record("Finished jobid: 4 (Rule: train)", event=LogEvent.JOB_FINISHED),
        record("Rule: train, Jobid: 4", event=LogEvent.JOB_INFO),
        record(None, event=LogEvent.PROGRESS),
        record("Nothing to be done."),
    ]
    assert [few_lines(each) for each in said] == [False, False, False, True, True, True]


def test_lines_of_jobs_that_run_are_shown_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mimflow.terminal.INTERVAL", 0.01)
    log, lines = tmp_path / "job.log", JobLines()
    log.write_text("of an earlier attempt, which is as long\n")
    lines.handle(record(event=LogEvent.JOB_INFO, jobid=3, log=[str(log)]))
    with log.open("a") as stream:
        stream.write("step 1\nstep ")
        stream.flush()
        shown = ""
        while not shown:
            time.sleep(0.01)
            shown = capsys.readouterr().err
        assert shown == "step 1\n"
        stream.write("2\ncut off")
    lines.handle(record(event=LogEvent.JOB_FINISHED, job_id=3))
    assert capsys.readouterr().err == "step 2\n"


def on_terminal(project: Path, *words: str) -> str:
    """What a program writes to a terminal of its own."""
    ours, its = pty.openpty()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "xterm", "COLUMNS": "120", "XDG_CACHE_HOME": str(project)}
    process = subprocess.Popen(words, cwd=project, env=environment, stdin=its, stdout=its, stderr=its)
    os.close(its)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what Linux says when the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() == 0, written.decode()
    return written.decode()


@pytest.mark.slow
def test_a_job_is_a_few_lines_on_a_terminal_and_elsewhere(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    (job,) = (job for job in open_plan(project).jobs.values() if job.task.stage == "prepare")
    plain = command(project, "snakemake", "--cores", "1", job.manifest).stdout
    told = plain.partition("Job 0: prepare digits\n")[2].partition("Complete log")[0].splitlines()
    assert re.fullmatch(r"\[prepare digits\] took \d+ s → results/store/data/[0-9a-f]{16}", told[-2])
    assert told[-1] == "1 of 1 steps (100%) done" and len(told) <= 4
    (project / job.manifest).unlink()
    drawn = on_terminal(project, "snakemake", "--cores", "1", job.manifest)
    assert "Workflow Progress" in drawn and "Job 0:" not in drawn
    assert drawn.count("[prepare digits] took") == 1
