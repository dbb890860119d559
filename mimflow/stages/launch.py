"""Several processes for one job on this machine, as `torchrun` starts them: for people who would rather not call it.

Several machines need a launcher that reaches them: `torchrun`, `srun`. What is started here reads the same variables.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from types import FrameType

from mimflow.compute.launch import RANK, WORLD_SIZE
from mimflow.errors import Interrupted, PeerLostError
from mimflow.training.signals import handled

GRACE = 5.0
"""Seconds that the other processes of a job have to end by themselves once one has failed."""
POLL = 0.2
HERE = "127.0.0.1"


def run_together(command: list[str], count: int) -> int:
    """Run a command in so many processes of one job; the exit code of the one that failed first, or 0.

    Signals that ask to stop are passed on, and all processes are waited for. Once one fails, the others are ended.
    PeerLostError says which process was killed from outside, Interrupted that they were stopped before they began.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # seconds: only who starts processes needs it

    store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    environment = {
        **os.environ,
        "MASTER_ADDR": HERE,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "LOCAL_WORLD_SIZE": str(count),
        WORLD_SIZE: str(count),
        # torch warns of what is chosen with intent: to look for parameters that a loss did not use.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
    }
    processes: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for process in processes:
            process.send_signal(number)

    with handled(pass_on):
        try:
            for rank in range(count):
                place = {RANK: str(rank), "LOCAL_RANK": str(rank)}
                processes.append(subprocess.Popen(command, env=environment | place))
            return _wait(processes, asked)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _wait(processes: list[subprocess.Popen[bytes]], asked: list[int]) -> int:
    """Until all have ended, or one has failed and the others had their time to say why they end.

    `asked` are the signals that they were sent.
    """
    failed: dict[int, int] = {}
    deadline = float("inf")
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(POLL)
        failed |= {
            rank: code for rank, process in enumerate(processes) if rank not in failed and (code := process.poll())
        }
        if failed and deadline == float("inf"):
            deadline = time.monotonic() + GRACE
    for rank, process in enumerate(processes):
        if rank not in failed and process.returncode:
            failed[rank] = process.returncode
    # Who has lost another is not to blame.
    for rank, code in sorted(failed.items(), key=lambda one: one[1] == PeerLostError.exit_code):
        if code < 0 and -code in asked:
            raise Interrupted(f"{signal.Signals(-code).name} before the work began")
        if code < 0:
            raise PeerLostError(f"process {rank} of {len(processes)} was ended by {signal.Signals(-code).name}")
        return code
    return 0
