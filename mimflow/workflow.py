"""What the Snakefile asks of the plan. A user's mistake ends it with a line and the right exit code, no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from mimflow.artifacts.provenance import git_refusal
from mimflow.errors import MimflowError, PlanError, SpecError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.freshness import update_markers
from mimflow.plan.handover import hand_over, handed_over
from mimflow.plan.jobs import Job
from mimflow.plan.links import update_links
from mimflow.plan.pins import pin_problems
from mimflow.plan.pull import missing_outputs, nothing_to_do
from mimflow.products.registry import open_plan
from mimflow.spec.base import SLUG


class Workflow:
    """The plan of a project, and what Snakemake's rules want to know of it."""

    def __init__(self, plan: Plan, main_process: bool):
        self.plan = plan
        self.main_process = main_process

    def of_kind(self, kind: str) -> list[str]:
        """The names of the products of a kind, those whose specs are wrong included: to ask for one says so."""
        return sorted(
            {product.name for product in self.plan.products.values() if product.kind.name == kind}
            | {name for of, name in self.plan.workspace.wrong if of == kind and SLUG.fullmatch(name)}
        )

    def default_targets(self) -> list[str]:
        """What is made when nothing is asked for."""
        try:
            return [product.files[0] for product in self.plan.by_default()]
        except SpecError:
            return ["`mimflow validate`: specs of what is made by default are wrong"]

    def job_inputs(self, job: str) -> list[str]:
        """The manifests of what a job reads."""
        found = self._job(job)
        if found is None:
            # An input that nothing makes: Snakemake says so in a line, where an exception would be a traceback.
            return [f"no spec asks for the job {job}"]
        if self.main_process and not found.done(self.plan.root):
            hand_over(self.plan, found)
        return self._unpinned([found]) or [upstream.manifest for upstream in found.inputs.values()]

    def product_inputs(self, product: str) -> list[str]:
        """The manifests of what a product is rendered from."""
        if product not in self.plan.products:
            return [f"`mimflow validate {product}`: its specs are wrong"]
        jobs = self.plan.products[product].jobs().values()
        return self._unpinned(jobs) or list(dict.fromkeys(job.manifest for job in jobs))

    def _unpinned(self, jobs: Iterable[Job]) -> list[str]:
        """As inputs that nothing makes: images of the user's that are not those that are pinned."""
        return pin_problems(self.plan, jobs) if self.main_process else []

    def _job(self, job: str) -> Job | None:
        """A job by its id; in a process that a workflow has started, one that specs do not ask for any more too."""
        handed = None if self.main_process or job in self.plan.jobs else handed_over(self.plan.root, job)
        return handed.job if handed is not None else self.plan.jobs.get(job)

    def name(self, job: str) -> str:
        """What a job is called."""
        found = self._job(job)
        return job if found is None else found.name

    def gpus(self, job: str) -> int:
        """GPUs to set aside for a job. `auto` asks for one where there is one."""
        compute = self.plan.jobs[job].compute if job in self.plan.jobs else None
        return int(compute is not None and compute.device != "cpu")

    def threads(self, job: str) -> int:
        """CPU threads to set aside for a job."""
        compute = self.plan.jobs[job].compute if job in self.plan.jobs else None
        return 1 if compute is None else int(compute.threads)


def open_workflow(root: Path, main_process: bool, recompute: bool = False) -> Workflow:
    """The workflow of the project at `root`. The main process also brings the markers and links up to date.

    Where `dvc.lock` records results that are not here, nothing is computed unless `recompute` says so.
    """
    try:
        plan = open_plan(root)
        if main_process:
            _say_problems(plan)
            if refused := git_refusal(root):
                print(refused, file=sys.stderr)
            update_markers(plan)
            update_links(plan)
            missing = missing_outputs(root)
            if missing and not recompute:
                _say_pull(plan, missing)
            # DVC's stage declares them, and a plan without frozen networks leaves theirs empty.
            for folder in paths.FOLDERS.values():
                (root / paths.STORE / folder).mkdir(parents=True, exist_ok=True)
        return Workflow(plan, main_process)
    except MimflowError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def _say_problems(plan: Plan) -> None:
    """What is wrong with specs, on standard error; SpecError if no product is free of it."""
    if not plan.products:
        plan.workspace.raise_problems()
    for problem in plan.workspace.problems:
        print(problem, file=sys.stderr)


def _say_pull(plan: Plan, missing: list[str]) -> None:
    text = f"dvc.lock records results that are not here ({', '.join(missing)}): `dvc pull` fetches them"
    # DVC would lock empty folders: under it there is nothing to do without the results.
    if "DVC_STAGE" in os.environ or not nothing_to_do(plan):
        raise PlanError(f"{text}; to compute them anew instead: snakemake --config recompute=true")
    print(text, file=sys.stderr)
