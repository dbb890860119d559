"""A job of Slurm's whose time is over goes back into the queue; one that is cancelled does not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mimflow.errors import Interrupted
from mimflow.stages.requeue import requeued
from mimflow.training import signals

pytestmark = pytest.mark.fault("schedulers")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a pretended `scontrol` notes what it was asked."""
    program = tmp_path / "bin/scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setattr(signals, "_received", [])
    return tmp_path / "asked"


def stop(number: signal.Signals, said: list[str]) -> None:
    with pytest.raises(Interrupted), requeued(said.append), signals.ending_orderly("x"):
        os.kill(os.getpid(), number)


def test_one_whose_time_is_over_is_queued_again(asked: Path) -> None:
    said: list[str] = []
    stop(signal.SIGUSR1, said)
    assert asked.read_text() == "requeue 17\n"
    assert said == ["the time of Slurm's job 17 is over: queued again"]


def test_one_that_is_cancelled_is_not(asked: Path) -> None:
    stop(signal.SIGTERM, [])
    assert not asked.exists()


def test_of_several_tasks_the_first_asks(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    stop(signal.SIGUSR1, [])
    assert not asked.exists()


def test_outside_slurm_nobody_is_asked(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    stop(signal.SIGUSR1, [])
    assert not asked.exists()


def test_what_slurm_answers_is_said(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked.parent / "bin/scontrol").write_text("#!/bin/sh\necho 'Requested operation not supported' >&2; exit 1\n")
    said: list[str] = []
    stop(signal.SIGUSR1, said)
    assert said == ["the time of Slurm's job 17 is over: not queued again: Requested operation not supported"]
