"""Jobs of Slurm's whose time is over: they go back into the queue, and the next time go on where they stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mimflow.errors import Interrupted
from mimflow.training.signals import received


@contextmanager
def requeued(say: Callable[[str], None]) -> Iterator[None]:
    """Within it, a job of Slurm's that was told that its time is nearly over (SIGUSR1, as `profiles/slurm` has it sent)
    ends orderly, then is put into the queue again under its number, for which whoever waits for it goes on waiting.

    One that is cancelled (SIGTERM) is not. `say` is told what Slurm answers if it can't be.
    """
    try:
        yield
    except Interrupted:
        job = os.environ.get("SLURM_JOB_ID")
        if job is not None and signal.SIGUSR1 in received() and os.environ.get("SLURM_PROCID", "0") == "0":
            _requeue(job, say)
        raise


def _requeue(job: str, say: Callable[[str], None]) -> None:
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
        problem = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    say(f"the time of Slurm's job {job} is over: " + (f"not queued again: {problem}" if problem else "queued again"))
