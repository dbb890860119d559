"""Signals that ask a job to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from mimflow.errors import Interrupted
from mimflow.forking.client import SIGNALS

Handler = Callable[[int, FrameType | None], None]
_received: list[signal.Signals] = []


def received() -> list[signal.Signals]:
    """The signals that have asked this process to stop so far."""
    return list(_received)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Within it, signals that ask to stop call `handler`; those that the process is to ignore (nohup) stay ignored."""

    def note(number: int, frame: FrameType | None) -> None:
        _received.append(signal.Signals(number))
        handler(number, frame)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    kept = {number: old for number, old in before.items() if old != signal.SIG_IGN}
    try:
        for number in kept:
            signal.signal(number, note)
        yield
    finally:
        for number, old in kept.items():
            signal.signal(number, old)


@contextmanager
def held_back() -> Iterator[None]:
    """Within it signals that ask to stop wait: what they raise in an import of C++ code would abort the process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interruption:
    """Within it, signals that ask to stop are noted instead of ending the process: a checkpoint can be written."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._handled = handled(self._note)

    def __enter__(self) -> Interruption:
        self._handled.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handled.__exit__(kind, error, trace)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)


@contextmanager
def ending_orderly(what: str) -> Iterator[None]:
    """Within it, a signal that asks to stop ends what is under way as Ctrl-C does, and Interrupted says so.

    Temporary files are removed on the way; a second signal does not cut that short.
    """
    received: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        if len(received) == 1:
            # Not an Exception, which whoever reads damaged files may take for the file's fault.
            raise KeyboardInterrupt

    with handled(stop):
        try:
            yield
        # What was interrupted may have made an error of its own of it: an import within an import, say.
        except BaseException as error:
            if not received and not isinstance(error, KeyboardInterrupt):
                raise
            raise Interrupted(
                f"{what}: {received[0] if received else 'interrupted'}; the next run goes on with what is finished"
            ) from error
