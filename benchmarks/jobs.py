"""Many small jobs: an ablation of the tests' tiny system, each job a process that starts anew or a fork.

`python benchmarks/jobs.py --runs 10`: ten learning rates, their trainings, samples and evaluations; the processor time
of Snakemake and all its jobs, and the time that passes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from startup import PROGRAMS, large_project

FORKS, ALONE = {}, {"MIMFLOW_FORKING": "no"}


def measured(project: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds that pass, and of the processor, for all of a project's table."""
    words = [str(PROGRAMS / "snakemake"), "--cores", "2", "results/table1.md"]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, cwd=project, check=True, capture_output=True, env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, used


def jobs(project: Path) -> int:
    """How many jobs a project's store has the results of."""
    return len(list((project / "results/store").glob("*/*/manifest.json")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="points of the ablation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, environment in (("alone", ALONE), ("forked", FORKS)):
            project = large_project(Path(folder) / name, options.runs)
            passed, used = measured(project, environment)
            count = jobs(project)
            print(
                f"{name:<7} {count} jobs  {passed:.0f} s  processor {used:.0f} s, {used / count:.2f} s a job",
                flush=True,
            )


if __name__ == "__main__":
    main()
