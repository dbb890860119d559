"""The server: `python -m mimflow.forking SOCKET`, a listening one that it inherits, until standard input ends."""

from __future__ import annotations

import gc
import io
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from mimflow.errors import MimflowError
from mimflow.forking import client
from mimflow.forking.client import LENGTH_BYTES, REFUSED, SIGNALS, STARTED
from mimflow.forking.stamps import stamps

PACKAGE = Path(__file__).resolve().parent.parent
SECONDS_TO_ASK = 10.0
"""A client that takes longer to say what it wants gets no answer: others wait."""
IMPORTED = (
    "torch",
    "timm",
    "torchvision",
    "torch_fidelity",
    *(f"mimflow.stages.{stage}" for stage in ("runner", "prepare", "features", "latents", "train", "infer")),
    "mimflow.stages.evaluate",
    "mimflow.stages.reference",
    "mimflow.products.registry",
    "mimflow.products.render",
    "matplotlib.backends.backend_agg",
    "mimflow.cli",
)
"""What jobs import. What else one of them needs, it imports itself."""


@dataclass
class Server:
    """Forks a process for each client and tells it how that ended."""

    listening: socket.socket
    code: frozenset[tuple[str, int, int]]
    jobs: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)
    """By the descriptor that says that it has ended: the job's process, and its client."""

    def serve(self) -> dict[str, Any] | None:
        """In every process that it forks: what its client has asked for. In its own, None when all is over."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.listening, selectors.EVENT_READ, self._accept)
            waiting.register(0, selectors.EVENT_READ, self._close)
            self._waiting = waiting
            while self.jobs or self.listening.fileno() >= 0:
                for key, _ in waiting.select():
                    if waiting.get_map().get(key.fileobj) is not key:
                        continue  # closed by what came before it
                    asked: dict[str, Any] | None = key.data(key.fileobj)
                    if asked is not None:
                        return asked
        return None

    def _close(self, _: int) -> None:
        """Who started the server has ended: it takes no more jobs, and those that run are to end orderly."""
        self._waiting.unregister(0)
        self._waiting.unregister(self.listening)
        self.listening.close()
        for process, _client in self.jobs.values():
            os.kill(process, signal.SIGTERM)

    def _accept(self, listening: socket.socket) -> dict[str, Any] | None:
        connection, _address = listening.accept()
        connection.settimeout(SECONDS_TO_ASK)
        try:
            first, streams, *_ = socket.recv_fds(connection, LENGTH_BYTES, 3)
            asked = json.loads(_received(connection, int.from_bytes(first, "big")))
        except (OSError, ValueError):
            connection.close()
            return None
        same = asked["prefix"] == sys.prefix and asked["code"] == client.__file__ and self.code == code()
        process = os.fork() if same else None
        if process == 0:
            self._leave(connection)
            _become(asked, streams)
            return dict(asked)
        for stream in streams:
            os.close(stream)
        connection.settimeout(None)
        with suppress(OSError):  # a client that is gone is seen below
            connection.send(REFUSED if process is None else STARTED)
        if process is None:
            connection.close()
            return None
        ended = os.pidfd_open(process)
        self.jobs[ended] = process, connection
        self._waiting.register(ended, selectors.EVENT_READ, self._ended)
        self._waiting.register(connection, selectors.EVENT_READ, lambda _: self._signalled(process, connection))
        return None

    def _leave(self, connection: socket.socket) -> None:
        """In a job's process: nothing of the server stays open."""
        self._waiting.close()
        self.listening.close()
        connection.close()
        for ended, (_, other) in self.jobs.items():
            os.close(ended)
            other.close()

    def _signalled(self, process: int, connection: socket.socket) -> None:
        try:
            numbers = connection.recv(16)
        except OSError:
            numbers = b""
        if not numbers:  # the client was killed: so is its job
            self._waiting.unregister(connection)
        for number in numbers or [signal.SIGKILL]:
            os.kill(process, number)

    def _ended(self, ended: int) -> None:
        process, connection = self.jobs.pop(ended)
        _, status = os.waitpid(process, 0)
        self._waiting.unregister(ended)
        os.close(ended)
        with suppress(KeyError):
            self._waiting.unregister(connection)
        with suppress(OSError):
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        connection.close()


def code() -> frozenset[tuple[str, int, int]]:
    """What tells whether a source file of the package was changed."""
    return stamps(PACKAGE.rglob("*.py"))


def _received(connection: socket.socket, length: int) -> bytes:
    text = b""
    while len(text) < length:
        part = connection.recv(length - len(text))
        if not part:
            raise ValueError("cut short")
        text += part
    return text


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """Make this process what the client's would have been: its folder, environment, streams, signals and threads."""
    # The terminal's signals go to the client alone, which passes them on.
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number in asked["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    _set_threads()
    sys.argv = [sys.argv[0], *asked["words"]]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _stream(number: int) -> io.TextIOWrapper:
    buffer = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115
    errors = "backslashreplace" if number == 2 else "strict"
    return io.TextIOWrapper(buffer, errors=errors, line_buffering=number == 2 or os.isatty(number))


def _set_threads() -> None:
    """The threads of libraries for linear algebra, which they read from the environment when they are loaded."""
    from threadpoolctl import threadpool_limits

    named = (os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"))
    for count, library in zip(named, ("openmp", "blas"), strict=True):
        chosen = int(count) if count.isdecimal() and int(count) > 0 else len(os.sched_getaffinity(0))
        threadpool_limits(chosen, user_api=library)


def _prepare() -> None:
    """Make what every job would make for itself: the command line, the classes of tasks, the specs as they are read."""
    import_module("mimflow.cli").commands()
    for task in import_module("mimflow.tasks").TASKS.values():
        task.model_rebuild()
    with suppress(MimflowError):  # said by the job that needs the specs
        import_module("mimflow.products.registry").keep_workspace(Path())


def main() -> None:
    """Import, then serve. A forked process goes on as `mimflow` with its client's words."""
    # Those of the terminal are for jobs, which unblock them when they are what they are to be: none is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    server = Server(socket.socket(fileno=int(sys.argv[1])), code())
    for module in IMPORTED:
        import_module(module)
    _prepare()
    gc.collect()
    gc.freeze()  # what is there now stays, and its memory is shared
    if server.serve() is not None:
        program = import_module("mimflow.cli")
        program.main()


if __name__ == "__main__":
    main()
