"""One process at a time on a job, across processes and hosts that share the folder.

The kernel's lock is used where the file system has one: it is given back when its holder dies, so a killed process
never blocks the next. On file systems without (Lustre, some NFS) the file itself is the lock, and its holder writes
into it that it is alive: a lock that has not changed for a while is a dead process's and is taken over. No clocks are
compared: whoever finds a lock watches it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from mimflow.artifacts.manifest import write_text
from mimflow.errors import LockedError, StorageError

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
"""What `flock` answers where the file system has no locks."""
BEAT = 5.0
"""Seconds between two signs of life."""
PATIENCE = 30.0
"""Seconds without one after which a holder counts as dead."""
ALIVE = "\nalive "


@contextmanager
def locked(path: Path, what: str, shared: bool = False) -> Iterator[None]:
    """Hold the lock at `path`; LockedError (exit 6) names the process that holds it already.

    `shared`: with others that share it, and with none that does not; where the kernel has no locks, with anybody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            by_kernel = flock(stream, shared)
        except BlockingIOError:
            stream.seek(0)
            raise _held(what, stream.read()) from None
        if shared:
            yield
            return
        if by_kernel:
            stream.truncate(0)
            stream.write(_myself())
            stream.flush()
            yield
            stream.truncate(0)
            return
    with _by_signs_of_life(_alive(path), what):
        yield


def holder(path: Path) -> str | None:
    """Who holds the lock at `path`, as far as can be told without taking it: `process 12 on host`; None if nobody.

    A process of this machine is asked for by its number, one of another by its signs of life or by the kernel's lock.
    """
    beside = _alive(path)
    with suppress(OSError):
        if beside.is_file():
            return _who(_content(beside)) if time.time() - beside.stat().st_mtime < PATIENCE else None
        who = _who(_content(path))
        match who.split():
            case ["process", number, "on", host] if number.isdigit():
                held = _lives(int(number)) if host == socket.gethostname() else _kernel_holds(path)
                return who if held else None
    return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _kernel_holds(path: Path) -> bool:
    with path.open(encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _alive(path: Path) -> Path:
    """The lock on file systems that have none of the kernel's. Beside, because the first to come must find no file."""
    return path.with_name(f"{path.name}.alive")


def flock(stream: IO[str], shared: bool = False) -> bool:
    """Take the kernel's lock on a file, alone or with others that share it; False where the file system has none.

    BlockingIOError if it is held.
    """
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return False
    return True


def _myself() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _held(what: str, content: str) -> LockedError:
    name = _who(content) or "another process"
    return LockedError(f"{what}: {name} is at work on it (wait for it, or end it)")


def _who(content: str) -> str:
    """The holder that a lock names, without what tells its locks apart."""
    return content.partition(",")[0].strip()


@contextmanager
def _by_signs_of_life(path: Path, what: str) -> Iterator[None]:
    mine = f"{_myself()}, {os.urandom(8).hex()}"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(mine + ALIVE)
    except FileExistsError:
        _take_over(path, what, mine)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(path, mine, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _is(path, mine):
            path.unlink(missing_ok=True)


def _take_over(path: Path, what: str, mine: str) -> None:
    """Watch a lock that is there, and take it once nobody keeps it alive; LockedError if somebody does."""
    found = _content(path)
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        time.sleep(BEAT / 5)
        if _content(path) != found:
            raise _held(what, found)
    write_text(path, mine + ALIVE)
    # Of several who saw it dead, the last to write has it.
    time.sleep(BEAT)
    if not _is(path, mine):
        raise _held(what, _content(path))


def _beat(path: Path, mine: str, ended: threading.Event) -> None:
    """Write a sign of life every `BEAT` seconds until `ended` is set."""
    for number in count(1):
        if ended.wait(BEAT):
            return
        with suppress(OSError, StorageError):  # no room for now, or a file system that does not answer: the next one
            if not _is(path, mine):
                # Stopped for so long that another process has taken it for dead: two must not go on.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            write_text(path, f"{mine}{ALIVE}{number}")


def _is(path: Path, mine: str) -> bool:
    return _content(path).startswith(mine + ALIVE)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
