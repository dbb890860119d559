"""How processes that `srun` starts find one another: Slurm's environment in `torch.distributed`'s words."""

from __future__ import annotations

from collections.abc import Mapping

FIRST_PORT, PORTS = 20_000, 20_000
"""A job's port follows from its number, so that jobs on one node have different ones."""


def rendezvous(environment: Mapping[str, str]) -> dict[str, str]:
    """What `torch.distributed`'s `env://` reads, for one of several tasks of a step of Slurm's; empty if it is none.

    `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT`; what `torchrun` or anybody else has set stays.
    The first task runs where `srun` was called: on the first node of the job's allocation.
    """
    # A batch script has SLURM_NTASKS, too, and is one process: what is said of a step is said to its tasks alone.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks < 2 or "RANK" in environment or "SLURM_LAUNCH_NODE_IPADDR" not in environment:
        return {}
    step = int(environment["SLURM_JOB_ID"]) + int(environment.get("SLURM_STEP_ID", "0"))
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_ADDR": environment["SLURM_LAUNCH_NODE_IPADDR"],
        "MASTER_PORT": str(FIRST_PORT + step % PORTS),
    }
