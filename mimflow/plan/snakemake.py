"""What the Snakefile asks of the plan. A user's mistake ends it with a line and the right exit code, no traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mimflow.errors import MimflowError, PlanError
from mimflow.plan import paths
from mimflow.plan.build import Job, Plan
from mimflow.plan.freshness import update_markers
from mimflow.plan.pull import missing_outputs, nothing_to_do
from mimflow.project.workspace import Workspace


def open_plan(root: Path, main_process: bool, recompute: bool = False) -> Plan:
    """The plan of the project at `root`. The main process also brings the tables' markers up to date.

    Where `dvc.lock` records results that are not here, nothing is computed unless `recompute` says so.
    """
    try:
        plan = Plan(Workspace(root))
        if main_process:
            update_markers(plan)
            missing = missing_outputs(root)
            if missing and not recompute:
                _say_pull(plan, missing)
            # DVC's stage declares it, and a plan without frozen networks leaves it empty.
            (root / paths.STORE / paths.FOLDERS["features"]).mkdir(parents=True, exist_ok=True)
        return plan
    except MimflowError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def _say_pull(plan: Plan, missing: list[str]) -> None:
    text = f"dvc.lock records results that are not here ({', '.join(missing)}): `dvc pull` fetches them"
    # DVC would lock empty folders: under it there is nothing to do without the results.
    if "DVC_STAGE" in os.environ or not nothing_to_do(plan):
        raise PlanError(f"{text}; to compute them anew instead: snakemake --config recompute=true")
    print(text, file=sys.stderr)


def resources(job: Job | None) -> dict[str, int]:
    """GPUs and threads that Snakemake should set aside for a job. `auto` asks for a GPU where there is one."""
    compute = job.compute if job is not None else None
    if compute is None:
        return {"gpu": 0, "threads": 1}
    return {"gpu": int(compute.device != "cpu"), "threads": compute.threads}
