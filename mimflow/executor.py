"""What runs the jobs: this machine or a cluster, and what the rules hand to Snakemake for either."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any


def signed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, its signature found once: Snakemake asks for it at every call, and that takes longer."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


@cache
def slurm_has_gpus(partition: str | None = None) -> bool:
    """Whether a node of a partition of Slurm's, or of its default one, has a GPU: a job that asks for one is refused
    where there is none. True where Slurm can't be asked.
    """
    try:
        done = subprocess.run(["sinfo", "--noheader", "--format=%P|%G"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return True
    nodes = [(name, gres) for name, _, gres in (line.partition("|") for line in done.stdout.splitlines())]
    chosen = [
        gres for name, gres in nodes if (name.endswith("*") if partition is None else name.rstrip("*") == partition)
    ]
    # A cluster may have no default partition: then any node counts.
    return done.returncode != 0 or any("gpu" in gres for gres in chosen or [gres for _, gres in nodes])


def launch(threads: int, resources: Any) -> str:
    """What a job's command begins with: `srun …` where a profile gives it several tasks (`mpi: srun`, `tasks: N`),
    which then are one process each, with a GPU of its own where it has any; otherwise nothing.
    """
    if not resources.get("mpi"):
        return ""
    words = [resources.get("mpi"), f"--ntasks={resources.get('tasks')}", f"--cpus-per-task={threads}"]
    words += ["--gpus-per-task=1"] if resources.get("gpu") else []
    return " ".join([*words, "--kill-on-bad-exit=1", ""])


def executor_name(workflow: Any) -> str:
    """What runs the jobs of Snakemake's workflow: `local`, `slurm`; a report of it has no executor."""
    return str(getattr(workflow.executor_plugin, "name", "local"))


def partition_of(settings: Any, stage: str) -> str | None:
    """The partition of Slurm's that a profile or command line names for a stage; None if it names none.

    `settings` are Snakemake's `ResourceSettings`.
    """
    chosen = (settings.overwrite_resources or {}).get(stage, {}), settings.default_resources or {}
    named = [resources["slurm_partition"] for resources in chosen if "slurm_partition" in resources]
    return str(getattr(named[0], "raw", None) or named[0]) if named else None
