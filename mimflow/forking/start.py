"""Starts the server beside a workflow."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from mimflow.forking.client import ADDRESS

FEWEST_JOBS = 4
"""Below that the server's own imports cost more than those of the jobs."""
FORBIDDEN = "MIMFLOW_FORKING"
"""The environment variable that says `no` where each job is to start a Python of its own."""
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")
"""There where a GPU is: its driver does not outlive a fork, and jobs are longer there."""


def start(jobs: int) -> subprocess.Popen[bytes] | None:
    """Begin to import what jobs import, and tell the processes that this one starts; None where it would not pay.

    The server ends when this process does, and its jobs have.
    """
    if (
        os.environ.get(FORBIDDEN) == "no"
        or jobs < FEWEST_JOBS
        or sys.platform != "linux"
        or any(map(os.path.exists, GPU_DEVICES))
    ):
        return None
    folder = Path(tempfile.mkdtemp(prefix="mimflow-forking-"))
    address = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        number = listening.fileno()
        # One thread, or a fork would lose the others; each job sets its own number.
        single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "mimflow.forking", str(number)],
            stdin=subprocess.PIPE,
            pass_fds=[number],
            env={**os.environ, **single},
        )
    os.environ[ADDRESS] = address
    atexit.register(_end, server, folder)
    return server


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    """At the end of this process: its jobs are over, and so is the server."""
    server.communicate()
    shutil.rmtree(folder, ignore_errors=True)
