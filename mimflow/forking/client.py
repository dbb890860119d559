"""The side that a rule starts. It imports next to nothing, as its start is what a job's start then costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType

ADDRESS = "MIMFLOW_FORK_SERVER"
"""The environment variable that names the server's socket."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""What schedulers, Ctrl-C and closed terminals send to ask a job to stop. One that is ignored here (nohup) is ignored
by the job that it is passed on to."""
REFUSED, STARTED = b"-", b"+"
LENGTH_BYTES = 8


def run_there(words: list[str]) -> int | None:
    """Have the server run `mimflow` with these words, and return its exit code; None where it does not.

    A job that a signal has ended ends this process by the same signal. A server that dies takes its jobs with it.
    """
    address = os.environ.get(ADDRESS)
    if address is None:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            _ask(connection, words)
            answer = connection.recv(1)
        except OSError:
            return None
        if answer != STARTED:
            return None

        def pass_on(number: int, frame: FrameType | None) -> None:
            with suppress(OSError):
                connection.send(bytes([number]))

        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, pass_on)
        return _ended(connection)


def _ask(connection: socket.socket, words: list[str]) -> None:
    ignored = [int(number) for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    umask = os.umask(0)
    os.umask(umask)
    asked = {
        "words": words,
        "environment": {name: value for name, value in os.environ.items() if name != ADDRESS},
        "folder": os.getcwd(),  # noqa: PTH109  (pathlib is not imported here)
        "ignored": ignored,
        "umask": umask,
        "prefix": sys.prefix,
        "code": __file__,
    }
    text = json.dumps(asked).encode()
    socket.send_fds(connection, [len(text).to_bytes(LENGTH_BYTES, "big")], [0, 1, 2])
    connection.sendall(text)


def _ended(connection: socket.socket) -> int:
    """Wait for the end of the job."""
    text = b""
    while (part := connection.recv(16)) != b"":
        text += part
    if not text:
        print("the process that forks jobs has ended, and its jobs with it", file=sys.stderr)
        return 1
    code = int(text)
    if code < 0:
        with suppress(OSError):  # SIGKILL has no other meaning
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
