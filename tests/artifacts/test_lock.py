"""One process at a time, on file systems with and without locks of the kernel's."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from mimflow.artifacts import lock
from mimflow.artifacts.lock import locked
from mimflow.errors import LockedError

pytestmark = [pytest.mark.slow, pytest.mark.fault("places")]

MYSELF = f"process {os.getpid()} on {socket.gethostname()}"


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system as Lustre and some NFS are, on which time passes quickly."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "PATIENCE", 0.5)


@pytest.mark.usefixtures("without_locks")
def test_without_kernel_locks_a_second_holder_is_refused_by_the_first_ones_name(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "work.lock", "job"),
        pytest.raises(LockedError) as caught,
        locked(tmp_path / "work.lock", "job"),
    ):
        pass
    assert str(caught.value) == f"job: {MYSELF} is at work on it (wait for it, or end it)"
    with locked(tmp_path / "work.lock", "job"):
        pass


@pytest.mark.usefixtures("without_locks")
def test_without_kernel_locks_one_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "work.lock.alive").write_text("process 1 on another, abc\nalive 17")
    began = time.monotonic()
    with locked(tmp_path / "work.lock", "job"):
        held = (tmp_path / "work.lock.alive").read_text()
    assert held.startswith(MYSELF) and time.monotonic() - began >= 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["work.lock"]


@pytest.mark.usefixtures("without_locks")
def test_of_two_who_find_a_killed_process_one_takes_over(tmp_path: Path) -> None:
    (tmp_path / "work.lock.alive").write_text("process 1 on another, abc\nalive 17")
    inside: list[int] = []
    most: list[int] = []

    def hold() -> None:
        try:
            with locked(tmp_path / "work.lock", "job"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(1)
                inside.pop()
        except LockedError:
            pass

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_an_error_that_is_not_about_locks_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path / "work.lock", "job"):
        pass


def test_those_who_share_a_lock_keep_out_who_wants_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, "job", shared=True), locked(path, "job", shared=True), pytest.raises(LockedError):  # noqa: SIM117
        with locked(path, "job"):
            pass
    with locked(path, "job"), pytest.raises(LockedError), locked(path, "job", shared=True):
        pass
