"""Many small jobs: an ablation of the tests' tiny system, each job a process that starts anew or a fork.

`python benchmarks/jobs.py --runs 10`: ten learning rates, their trainings, samples and evaluations; the processor time
of Snakemake and all its jobs, and the time that passes. A fifth as many learning rates tell what each job more costs,
its own work included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from startup import PROGRAMS, large_project

FORKS, ALONE = {}, {"MIMFLOW_FORKING": "no"}


class Measured(NamedTuple):
    """What a project's table took."""

    jobs: int
    passed: float
    """Seconds of the clock."""
    used: float
    """Seconds of the processor, Snakemake's and its jobs'."""


def measured(project: Path, environment: dict[str, str]) -> Measured:
    """Make a project's table from nothing."""
    words = [str(PROGRAMS / "snakemake"), "--cores", "2", "results/table1.md"]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, cwd=project, check=True, capture_output=True, env={**os.environ, **environment})
    passed, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(jobs(project), passed, used)


def jobs(project: Path) -> int:
    """How many jobs a project's store has the results of."""
    return len(list((project / "results/store").glob("*/*/manifest.json")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="points of the ablation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, environment in (("alone", ALONE), ("forked", FORKS)):
            few, many = (
                measured(large_project(Path(folder) / f"{name}-{runs}", runs), environment)
                for runs in (max(1, options.runs // 5), options.runs)
            )
            print(
                f"{name:<7} {many.jobs} jobs  {many.passed:.0f} s  processor {many.used:.0f} s, "
                f"{many.used / many.jobs:.2f} s a job; {few.jobs} jobs {few.used:.0f} s; each job more "
                f"{(many.used - few.used) / (many.jobs - few.jobs):.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
