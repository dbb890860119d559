"""What the Snakefile asks of the plan. A user's mistake ends it with a line and the right exit code, no traceback."""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]  # Snakemake's own

from mimflow.artifacts.provenance import git_refusal
from mimflow.errors import MimflowError, PlanError, SpecError, StorageError, storage_errors
from mimflow.executor import slurm_has_gpus
from mimflow.forking.start import start as start_forking
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.costs import Costs
from mimflow.plan.freshness import update_marker, update_markers
from mimflow.plan.handover import hand_over, handed_over
from mimflow.plan.jobs import Job
from mimflow.plan.links import update_links
from mimflow.plan.needs import LEAST_MEMORY_MB, needed_memory_mb, needed_threads
from mimflow.plan.pins import pin_problems
from mimflow.plan.product import Product
from mimflow.plan.pull import missing_outputs, nothing_to_do
from mimflow.plan.shards import markers, shard_count
from mimflow.plan.target import run_jobs
from mimflow.products.dvc import drop_numbers, outdated
from mimflow.products.registry import OF_RUNS, PRODUCTS, open_plan, open_workspace
from mimflow.progress import report
from mimflow.project.kinds import ProductKind
from mimflow.project.product_variant import ProductSettings, write_product_variants
from mimflow.project.variant import write_variant
from mimflow.spec.base import SLUG

NO_NAME = "-"
"""A pattern that the name of no product has."""
MOST_SEEDS = 1_000
"""Seeds that the command line can ask for at once."""


class Workflow:
    """The plan of a project, and what Snakemake's rules want to know of it.

    A process that a workflow has started elsewhere for one job (of a cluster's; products are rendered where Snakemake
    runs) has no plan: it knows the jobs that were handed over, and reads specs only where it is asked for others.
    """

    def __init__(
        self,
        plan: Plan | None,
        main_process: bool,
        read_only: Path | None = None,
        root: Path | None = None,
        shards: int = 1,
        variant: str | None = None,
        varied: ProductSettings | None = None,
    ):
        self._plan = plan
        self.root = root or Path()
        """Where specs are read if they have to be."""
        self.shards = shards
        """Jobs that the pieces of one are shared out between, where its stage makes pieces."""
        self._handed: dict[str, Job] = {}
        self.main_process = main_process
        self.read_only = read_only
        """The project's folder, where it can't be written: jobs can be listed (`-n`), and none can run."""
        self.variant = variant
        """The run that settings on the command line have made."""
        self.varied = varied
        """What the command line asks of products: others beside them, which are written when they are asked for."""
        self._asked: dict[str, Job] = {}
        """The jobs that may run, by id: Snakemake asks what they read before it asks which is to start first."""

    @property
    def plan(self) -> Plan:
        """The plan: all specs are read at the first call where there was none."""
        if self._plan is None:
            self._plan = _opened(self.root)
        return self._plan

    @property
    def product_kinds(self) -> tuple[ProductKind, ...]:
        """The kinds of product that there are rules for."""
        return (*PRODUCTS, *OF_RUNS)

    def names_of(self, kind: ProductKind) -> str:
        """A pattern of the names of a kind's products, those whose specs are wrong included: to ask for one says so."""
        if kind in OF_RUNS:
            return rf"{kind.folders[0]}/{SLUG.pattern}"
        if not self.main_process:
            return NO_NAME
        names = sorted(
            {product.name for product in self.plan.products.values() if product.kind == kind}
            | {name for of, name in self.plan.workspace.wrong if of == kind.name and SLUG.fullmatch(name)}
        )
        if self.varied is not None:
            names += [name + self.varied.suffix for name in names]
        return "|".join(map(re.escape, names)) or NO_NAME

    def default_targets(self) -> list[str]:
        """What is made when nothing is asked for."""
        if self.variant is not None:
            return [job.manifest for job in run_jobs(self.plan, self.variant)]
        try:
            return self._files(self.plan.by_default())
        except SpecError:
            return ["`mimflow validate`: specs of what is made by default are wrong"]

    def paper_targets(self) -> list[str]:
        """What makes every item of the papers."""
        return self._files(self.plan.of_papers())

    def _files(self, products: Iterable[Product]) -> list[str]:
        """A file of each product; of those that the command line asks for in their place, if it does."""
        if self.varied is None:
            return [product.files[0] for product in products]
        try:
            variants = self._vary(product.name for product in products if self.varied.apply_to(product.spec))
        except MimflowError as error:
            return [str(error)]
        return [self.plan.product(name).files[0] for name in variants]

    def _vary(self, names: Iterable[str]) -> list[str]:
        """Write the specs of products as the command line asks for them, and read all anew; what they are called."""
        assert self.varied is not None
        variants = write_product_variants(lambda: open_workspace(self.plan.root), names, self.varied)
        if any(name not in self.plan.products for name in variants.values()):
            self._plan = _opened(self.plan.root)
        for name in variants.values():
            update_marker(self.plan.product(name))
        return list(variants.values())

    def job_inputs(self, job: str) -> list[str]:
        """The manifests of what a job reads, and the markers of its shards if it is cut into some."""
        found = self._job(job)
        if found is None:
            # An input that nothing makes: Snakemake says so in a line, where an exception would be a traceback.
            return [f"no spec asks for the job {job}"]
        self._asked[found.id] = found
        read = [upstream.manifest for upstream in found.inputs.values()]
        return self._unpinned([found]) or [*read, *markers(found, self.shards)]

    def shard_inputs(self, job: str) -> list[str]:
        """The manifests of what a shard of a job reads."""
        found = self._job(job)
        return [] if found is None else [upstream.manifest for upstream in found.inputs.values()]

    def product_inputs(self, product: str) -> list[str]:
        """The manifests of what a product is rendered from."""
        try:
            if self.main_process and self.varied is not None and not product.endswith(self.varied.suffix):
                name = product + self.varied.suffix
                return [f"{product} is what its spec says: as the command line asks for it, it is results/{name}"]
            if self.main_process and self.varied is not None and product not in self.plan.products:
                self._vary([product.removesuffix(self.varied.suffix)])
            found = self.plan.product(product)
        except SpecError:
            return [f"`mimflow validate {product.rpartition('/')[2]}`: its specs are wrong"]
        except PlanError as error:
            return [str(error)]
        if self.main_process and product not in self.plan.products:
            update_marker(found)  # those of the others are up to date
        jobs = found.jobs().values()
        return self._unpinned(jobs) or list(dict.fromkeys(job.manifest for job in jobs))

    def _unpinned(self, jobs: Iterable[Job]) -> list[str]:
        """As inputs that nothing makes: images of the user's that are not those that are pinned."""
        return pin_problems(self.plan, jobs) if self.main_process else []

    def _job(self, job: str) -> Job | None:
        """A job by its id; in a process that a workflow has started, one that specs do not ask for any more too."""
        if not self.main_process and job not in self._handed and (handed := handed_over(self.root, job)) is not None:
            self._handed |= {each.id: each for each in (*handed.job.upstream(), handed.job)}
        return self._handed.get(job) or self.plan.jobs.get(job)

    def name(self, job: str) -> str:
        """What a job is called."""
        found = self._job(job)
        return job if found is None else found.name

    def gpus(self, job: str, executor: str = "local", partition: str | None = None) -> int:
        """GPUs to set aside for a job that an executor of Snakemake's runs. `auto` asks for one where there is one.

        `partition` is the one of Slurm's that the job goes to; None for the cluster's default.
        """
        found = self._job(job)
        if found is None or found.compute is None or found.compute.device == "cpu":
            return 0
        sure = found.compute.device == "cuda" or not executor.startswith("slurm")
        return int(found.task.processes) if sure or slurm_has_gpus(partition) else 0

    def threads(self, job: str) -> int:
        """CPU threads to set aside for a job."""
        found = self._job(job)
        return 1 if found is None else needed_threads(found) * found.task.processes

    def memory_mb(self, job: str) -> int:
        """Memory of the machine, in MB, to set aside for a job."""
        found = self._job(job)
        return LEAST_MEMORY_MB if found is None else needed_memory_mb(found)

    def priority(self, job: str) -> int:
        """Seconds that the longest chain of jobs takes from this one on: of those that can start, the longest first."""
        return max(1, round(self._chains.get(job, 0.0)))

    @cached_property
    def _chains(self) -> dict[str, float]:
        if not self.main_process:  # it runs one job, and starts none
            return {}
        return Costs(self.plan.root, self.plan.jobs.values()).chains(self._asked.values())

    def begin(self, executor: str = "local") -> None:
        """Before the first job: refuse a project that can't be written, hand over jobs, and pass on what asks this
        process to stop, so that they end as when they are asked themselves. Where they run here, they are forked from
        a process that has imported what they do.
        """
        if self.read_only is not None:
            report(f"{self.read_only}: can't write: jobs can be listed (snakemake -n), but none can run", sys.stderr)
            raise SystemExit(StorageError.exit_code)
        if self._plan is not None:
            drop_numbers(self._plan)  # here, as a dry run deletes and writes nothing
        ahead = self.hand_over_jobs()
        if executor == "local":
            self.fork_server = start_forking(ahead)
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, partial(_pass_on, before))

    def hand_over_jobs(self) -> int:
        """Write down what the jobs ahead are to do, for their own processes; how many they are."""
        ahead = [job for job in self._asked.values() if not job.done(self.root)]
        for job in ahead:
            hand_over(self.plan, job)
        return len(ahead)


def _pass_on(before: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "mimflow" in child.cmdline():
                child.terminate()
    before(number, frame)


def open_workflow(
    root: Path,
    main_process: bool,
    recompute: bool = False,
    shards: object = 1,
    settings: Mapping[str, Any] | None = None,
) -> Workflow:
    """The workflow of the project at `root`. The main process also brings the markers and links up to date.

    `shards`: how many jobs share the pieces of one out between them.
    Where `dvc.lock` records results that are not here, nothing is computed unless `recompute` says so. Of `settings`,
    `set`, `tarflow prior.width=64`, makes a variant of a run, which then is what is made when nothing is asked for;
    `seeds`, 3, and `dataset`, `mnist5k`, make variants of the products that Snakemake is asked for.
    """
    settings = settings or {}
    # `python` in the rules is the one that runs Snakemake, also where its environment is not activated.
    os.environ["PYTHONSAFEPATH"] = "1"  # `python -m` looks for its modules in the project's folder otherwise
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if not main_process:
        # Slurm says so when the time of a job is nearly over, to all its processes: it is for the job's own.
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        return Workflow(None, main_process, root=root)
    # What a DAG is made of stays until the end: looking for garbage among it, again and again, is a tenth of a dry run.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    shown = _looked_at_from_elsewhere(root)
    variant = _variant(shown or root, settings["set"]) if settings.get("set") else None
    plan = _opened(shown or root)
    varied = _product_settings(plan, settings)
    try:
        count = shard_count(shards)
        _say_problems(plan)
        if refused := git_refusal(root):
            report(refused, sys.stderr)
        update_markers(plan)
        update_links(plan)
        if outdated(plan):
            report("dvc.yaml is not what products ask for now (`mimflow dvc` writes it)", sys.stderr)
        missing = missing_outputs(root)
        if missing and not recompute:
            _say_pull(plan, missing)
        # DVC's stage declares them, and a plan without frozen networks, say, leaves theirs empty.
        stores = [f"{paths.STORE}/{folder}" for folder in paths.FOLDERS.values()]
        for folder in [*stores, paths.METRICS, paths.PLOTS] if shown is None else ():
            with storage_errors(root):
                (root / folder).mkdir(parents=True, exist_ok=True)
        return Workflow(plan, main_process, root if shown else None, root, count, variant, varied)
    except MimflowError as error:
        report(error, sys.stderr)
        raise SystemExit(error.exit_code) from None


def _opened(root: Path) -> Plan:
    """The plan of the project at `root`; where it can't be made, a line and the end."""
    try:
        return open_plan(root)
    except MimflowError as error:
        report(error, sys.stderr)
        raise SystemExit(error.exit_code) from None


def _variant(root: Path, settings: str) -> str:
    """The name of the run that settings make: `tarflow prior.width=64 seeds=[0,1]`; a line and the end if none can."""
    run, *each = settings.split()
    try:
        if not each:
            raise PlanError(f"--config set={settings!r}: no setting (set='RUN prior.width=64')")
        return write_variant(lambda: open_workspace(root), run, each)
    except MimflowError as error:
        report(error, sys.stderr)
        raise SystemExit(error.exit_code) from None


def _product_settings(plan: Plan, settings: Mapping[str, Any]) -> ProductSettings | None:
    """What the command line asks of products; None if nothing, a line and the end if it can't be."""
    seeds, dataset = settings.get("seeds"), settings.get("dataset")
    if seeds is None and dataset is None:
        return None
    try:
        if seeds is not None and not (isinstance(seeds, int) and 0 < seeds <= MOST_SEEDS):
            raise PlanError(f"--config seeds={seeds}: not a number of seeds (seeds=3)")
        if dataset is not None:
            plan.workspace.get("dataset", str(dataset))
    except MimflowError as error:
        report(error, sys.stderr)
        raise SystemExit(error.exit_code) from None
    return ProductSettings(seeds, None if dataset is None else str(dataset))


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
