"""What the Snakefile asks of the plan. A user's mistake ends it with a line and the right exit code, no traceback."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]  # Snakemake's own

from mimflow.artifacts.provenance import git_refusal
from mimflow.errors import MimflowError, PlanError, SpecError, StorageError, storage_errors
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.costs import Costs
from mimflow.plan.freshness import update_markers
from mimflow.plan.handover import hand_over, handed_over
from mimflow.plan.jobs import Job
from mimflow.plan.links import update_links
from mimflow.plan.pins import pin_problems
from mimflow.plan.pull import missing_outputs, nothing_to_do
from mimflow.plan.target import run_jobs
from mimflow.products.registry import open_plan, open_workspace
from mimflow.progress import report
from mimflow.project.variant import write_variant
from mimflow.spec.base import SLUG


class Workflow:
    """The plan of a project, and what Snakemake's rules want to know of it."""

    def __init__(self, plan: Plan, main_process: bool, read_only: Path | None = None, variant: str | None = None):
        self.plan = plan
        self.main_process = main_process
        self.read_only = read_only
        """The project's folder, where it can't be written: jobs can be listed (`-n`), and none can run."""
        self.variant = variant
        """The run that settings on the command line have made."""
        self._asked: dict[str, Job] = {}
        """The jobs that may run, by id: Snakemake asks what they read before it asks which is to start first."""

    def of_kind(self, kind: str) -> list[str]:
        """The names of the products of a kind, those whose specs are wrong included: to ask for one says so."""
        return sorted(
            {product.name for product in self.plan.products.values() if product.kind.name == kind}
            | {name for of, name in self.plan.workspace.wrong if of == kind and SLUG.fullmatch(name)}
        )

    def default_targets(self) -> list[str]:
        """What is made when nothing is asked for."""
        if self.variant is not None:
            return [job.manifest for job in run_jobs(self.plan, self.variant)]
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
        self._asked[found.id] = found
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

    def gpus(self, job: str, executor: str = "local") -> int:
        """GPUs to set aside for a job that an executor of Snakemake's runs. `auto` asks for one where there is one."""
        compute = self.plan.jobs[job].compute if job in self.plan.jobs else None
        if compute is None or compute.device == "cpu":
            return 0
        return int(compute.device == "cuda" or not executor.startswith("slurm") or slurm_has_gpus())

    def threads(self, job: str) -> int:
        """CPU threads to set aside for a job."""
        compute = self.plan.jobs[job].compute if job in self.plan.jobs else None
        return 1 if compute is None else int(compute.threads)

    def priority(self, job: str) -> int:
        """Seconds that the longest chain of jobs takes from this one on: of those that can start, the longest first."""
        return max(1, round(self._chains.get(job, 0.0)))

    @cached_property
    def _chains(self) -> dict[str, float]:
        if not self.main_process:  # it runs one job, and starts none
            return {}
        return Costs(self.plan.root, self.plan.jobs.values()).chains(self._asked.values())

    def begin(self) -> None:
        """Before the first job: refuse a project that can't be written, and pass on what asks this process to stop.

        Its jobs then end as they do when they are asked themselves.
        """
        if self.read_only is not None:
            report(f"{self.read_only}: can't write: jobs can be listed (snakemake -n), but none can run", sys.stderr)
            raise SystemExit(StorageError.exit_code)
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, partial(_pass_on, before))


def _pass_on(before: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "mimflow" in child.cmdline():
                child.terminate()
    before(number, frame)


@cache
def slurm_has_gpus() -> bool:
    """Whether any node of the Slurm cluster has a GPU. A job that asks for one where there is none is refused."""
    try:
        done = subprocess.run(["sinfo", "--noheader", "--format=%G"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return True
    return done.returncode != 0 or "gpu" in done.stdout


def open_workflow(root: Path, main_process: bool, recompute: bool = False, settings: str | None = None) -> Workflow:
    """The workflow of the project at `root`. The main process also brings the markers and links up to date.

    Where `dvc.lock` records results that are not here, nothing is computed unless `recompute` says so. `settings`,
    `tarflow prior.width=64`, makes a variant of a run, which then is what is made when nothing is asked for.
    """
    # `python` in the rules is the one that runs Snakemake, also where its environment is not activated.
    os.environ["PYTHONSAFEPATH"] = "1"  # `python -m` looks for its modules in the project's folder otherwise
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    shown = _looked_at_from_elsewhere(root) if main_process else None
    try:
        variant = _variant(shown or root, settings) if settings and main_process else None
        plan = open_plan(shown or root)
        if main_process:
            _say_problems(plan)
            if refused := git_refusal(root):
                report(refused, sys.stderr)
            update_markers(plan)
            update_links(plan)
            missing = missing_outputs(root)
            if missing and not recompute:
                _say_pull(plan, missing)
            # DVC's stage declares them, and a plan without frozen networks leaves theirs empty.
            for folder in paths.FOLDERS.values() if shown is None else ():
                with storage_errors(root):
                    (root / paths.STORE / folder).mkdir(parents=True, exist_ok=True)
        return Workflow(plan, main_process, read_only=root if shown else None, variant=variant)
    except MimflowError as error:
        report(error, sys.stderr)
        raise SystemExit(error.exit_code) from None


def _variant(root: Path, settings: str) -> str:
    """The name of the run that settings make: `tarflow prior.width=64 seeds=[0,1]`."""
    run, *each = settings.split()
    if not each:
        raise PlanError(f"--config set={settings!r}: no setting (set='RUN prior.width=64')")
    return write_variant(lambda: open_workspace(root), run, each)


def _say_problems(plan: Plan) -> None:
    """What is wrong with specs, on standard error; SpecError if no product is free of it."""
    if not plan.products:
        plan.workspace.raise_problems()
    for problem in plan.workspace.problems:
        report(problem, sys.stderr)


def _looked_at_from_elsewhere(root: Path) -> Path | None:
    """A folder of this process alone that shows a project that can only be read; None if the project can be written.

    Snakemake keeps records where it runs, even of `-n`, and we the markers.
    """
    if all(os.access(path, os.W_OK) for path in (root, root / ".snakemake", root / ".mimflow") if path.exists()):
        return None
    folder = Path(tempfile.mkdtemp(prefix="mimflow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in root.iterdir():
        if path.name not in (".snakemake", ".mimflow"):
            (folder / path.name).symlink_to(path)
    os.chdir(folder)
    return folder


def _say_pull(plan: Plan, missing: list[str]) -> None:
    text = f"dvc.lock records results that are not here ({', '.join(missing)}): `dvc pull` fetches them"
    # DVC would lock empty folders: under it there is nothing to do without the results.
    if "DVC_STAGE" in os.environ or not nothing_to_do(plan):
        raise PlanError(f"{text}; to compute them anew instead: snakemake --config recompute=true")
    report(text, sys.stderr)
