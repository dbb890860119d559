"""The command line: one verb a stage, and verbs to look at specs, plans and results. Parses and calls; no logic.

Exit codes: 0 done, 2 a spec, plan or data problem, 3 not finite, 4 out of memory, 5 can't write or read, 6 locked, 7 a
bad artifact, 8 no such device, 9 another process of the job has ended, 143 stopped by a signal (training: after a
checkpoint). Anything else is a bug.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from mimflow.compute.memory import memory_errors
from mimflow.errors import MimflowError, PlanError, StorageError, storage_errors
from mimflow.plan.paths import SHARDED
from mimflow.progress import report

if TYPE_CHECKING:
    from mimflow.plan.build import Plan
    from mimflow.plan.handover import HandedOver
    from mimflow.project.workspace import Workspace

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Declarative experiments for generative-model papers.",
)

data = typer.Typer(no_args_is_help=True, help="Data sets of your own.")
app.add_typer(data, name="data")

Project = Annotated[Path, typer.Option("--project", help="The project's folder, the one that holds specs/.")]
HERE = Path()
JobName = Annotated[str, typer.Argument(help="A job's id or name, as `mimflow plan` prints them.")]
ProductName = Annotated[str, typer.Argument(help="A product: table1 or results/table1.md.")]
Planned = Annotated[
    bool, typer.Option("--planned", help="Do the job as Snakemake has planned it, whatever specs say by now.")
]
ShardOf = Annotated[
    str | None,
    typer.Option("--shard", help="Only draw the pieces of one of so many jobs, 2/8; the job without it finds them."),
]
StrictCode = Annotated[bool, typer.Option("--strict-code", help="Refuse results made by other code than now.")]


def main() -> None:
    """Run the command line. A user's mistake is a line on standard error and an exit code, never a traceback."""
    # A module of the standard library is never one that lies in the project's folder, in processes of ours neither.
    os.environ["PYTHONSAFEPATH"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 lacks some of our characters
    try:
        with memory_errors("out of memory (a smaller spec, or a machine with more)"), storage_errors("a file"):
            app()
    except MimflowError as error:
        report(error, sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)


def _let_go(stream: TextIO | None) -> None:
    """Drop what nobody reads any more, or Python would end with an exit code of its own when it fails to write it."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _echo(text: object) -> None:
    """Print a result. Whoever reads it may have seen enough: nothing is lost."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        raise StorageError(f"standard output: can't write: {error.strerror}") from error


def _workspace(project: Path) -> Workspace:
    from mimflow.products.registry import open_workspace

    return open_workspace(project)


def _plan(project: Path) -> Plan:
    from mimflow.products.registry import open_plan

    return open_plan(project)


@app.command()
def validate(
    names: Annotated[list[str] | None, typer.Argument(help="Specs, by name or file; all if none is given.")] = None,
    project: Project = HERE,
) -> None:
    """Check specs: every problem at once, with its place."""
    from mimflow.project.inspection import check

    _echo(check(_workspace(project), names or []))


@app.command()
def plan(
    target: Annotated[str, typer.Argument(help="A product, table1 or results/table1.md, or a run.")],
    project: Project = HERE,
    memory: Annotated[bool, typer.Option("--memory", help="Say what memory and disk training needs instead.")] = False,
    memory_gb: Annotated[
        float | None, typer.Option("--memory-gb", help="The device's memory, where it is not compute.memory_gb.", min=0)
    ] = None,
) -> None:
    """List the jobs of a product or of a run's training, which would run, and the field that is why."""
    if memory or memory_gb is not None:
        from mimflow.plan.memory import describe_memory

        _echo(describe_memory(_plan(project), target, memory_gb))
        return
    from mimflow.plan.status import describe_plan

    _echo(describe_plan(_plan(project), target))


@app.command()
def explain(name: Annotated[str, typer.Argument(help="A spec.")], project: Project = HERE) -> None:
    """Print a spec as it is resolved, with the place that each value comes from."""
    from mimflow.project.inspection import explain as explained

    _echo(explained(_workspace(project), name))


@app.command()
def diff(
    left: Annotated[str, typer.Argument(help="A spec.")],
    right: Annotated[str, typer.Argument(help="Another of the same kind.")],
    project: Project = HERE,
) -> None:
    """Print the fields in which two specs differ."""
    from mimflow.project.inspection import diff as compared

    _echo(compared(_workspace(project), left, right))


@app.command()
def why(
    product: ProductName,
    row: Annotated[str | None, typer.Option(help="Of a table: a run's name or its label.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a table: a heading, or output.metric.")] = None,
    project: Project = HERE,
) -> None:
    """Trace a product, or one number of it, back to spec, seeds, commit and checkpoint."""
    from mimflow.products.trace import why as traced

    _echo(traced(_plan(project).product(product), row, column))


@app.command()
def schema(
    folder: Annotated[Path, typer.Argument(help="Where the JSON Schemas go.")] = Path("specs/schemas"),
) -> None:
    """Write the JSON Schemas that let editors complete and check specs."""
    from mimflow.products.registry import PRODUCTS
    from mimflow.project.schemas import write_schemas

    for path in write_schemas(folder, PRODUCTS):
        _echo(path)


@app.command()
def metrics(
    file: Annotated[Path, typer.Argument(help="Where the page goes.")] = Path("docs/metrics.md"),
) -> None:
    """Write the page of metrics: what each is, where it was published, and what a protocol can set."""
    from mimflow.artifacts.manifest import write_text
    from mimflow.project.metrics_page import metrics_page

    write_text(file, metrics_page())
    _echo(file)


@app.command()
def weights(project: Project = HERE) -> None:
    """List the files of weights that only you can bring: which are there, and where the others are published."""
    from mimflow.project.weights import describe_weights

    _echo(describe_weights(_workspace(project)))


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only listed.")] = False,
    project: Project = HERE,
) -> None:
    """List, or delete, results in the store that no spec reaches any more."""
    from mimflow.plan.collect_garbage import collect

    _echo(collect(_plan(project), delete))


def _end_with_parent() -> None:
    # A killed Snakemake would leave its jobs running; Linux can send them SIGTERM when their parent dies.
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class StageGroup(TyperGroup):
    """A stage with verbs of its own: `mimflow reference make …`, and `mimflow reference JOB` as of every stage."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb, or the job's command for what is none."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["job", *args])


reference = typer.Typer(
    cls=StageGroup, no_args_is_help=True, help="What images are compared with: `make` one, or do a JOB of that stage."
)
app.add_typer(reference, name="reference")


STAGES = {
    "prepare": "Prepare a data set.",
    "features": "Compute a frozen network's features of a data set.",
    "latents": "Compute a frozen tokenizer's latents of a data set.",
    "train": "Train one phase of a run, or go on with it.",
    "infer": "Make what a table asks of a trained run: samples, reconstructions, latents, likelihoods, …",
}
"""The stages whose command does a job and nothing else."""


def _run(stage: str, job: str, project: Path, strict_code: bool, planned: bool, shard: str | None = None) -> None:
    """Run a job of a stage, a shard of it, or this process's part of it."""
    from mimflow.artifacts.shard import Shard
    from mimflow.compute.launch import launched, place
    from mimflow.compute.rendezvous import rendezvous
    from mimflow.plan.handover import handed_over
    from mimflow.stages.runner import run_job, run_shard, take_part

    _end_with_parent()
    os.environ |= rendezvous(os.environ)
    part = Shard.parse(shard) if shard is not None else None
    made: Plan | HandedOver
    if planned and (handed := handed_over(project, job)) is not None:
        made, found = handed, handed.job
    else:
        made = _plan(project)
        found = made.job(job)
    if found.stage != stage:
        raise PlanError(f"'{job}' is a job of stage {found.stage}: mimflow {found.stage} {job}")
    if part is not None:
        run_shard(made, found, part, strict_code)
    elif found.task.processes > 1 and not launched() and not found.done(made.root):
        from mimflow.stages.launch import run_together

        flags = [*(["--strict-code"] if strict_code else []), *(["--planned"] if planned else [])]
        words = ["-m", "mimflow", stage, job, "--project", str(project), *flags]
        sys.exit(run_together([sys.executable, *words], found.task.processes))
    elif place().rank:
        take_part(made, found, strict_code)
    else:
        run_job(made, found, strict_code)


def _verb(stage: str) -> Callable[..., None]:
    """The command that runs a job of a stage."""

    def run(job: JobName, project: Project = HERE, strict_code: StrictCode = False, planned: Planned = False) -> None:
        _run(stage, job, project, strict_code, planned)

    def run_sharded(
        job: JobName,
        project: Project = HERE,
        strict_code: StrictCode = False,
        planned: Planned = False,
        shard: ShardOf = None,
    ) -> None:
        _run(stage, job, project, strict_code, planned, shard)

    return run_sharded if stage in SHARDED else run


for _name, _text in STAGES.items():
    app.command(_name, help=_text)(_verb(_name))
reference.command("job", hidden=True, help="Compute statistics of a reference.")(_verb("reference"))


@app.command()
def evaluate(
    job: Annotated[str | None, typer.Argument(help="A job's id or name; none for samples.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Samples made elsewhere: .npz with arr_0, or a folder of images.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="What measures the samples: a protocol's name.")] = None,
    labels: Annotated[Path | None, typer.Option(help="The samples' classes: .npy, .npz, or a number a line.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the numbers of the samples go, as JSON.")] = None,
    project: Project = HERE,
    strict_code: StrictCode = False,
    planned: Planned = False,
) -> None:
    """Measure what a trained run gave (a JOB), or samples that were made elsewhere (--samples, --protocol)."""
    from mimflow.errors import PlanError

    if job is not None and samples is None and protocol is None:
        _run("evaluate", job, project, strict_code, planned)
        return
    if job is not None or samples is None or protocol is None:
        raise PlanError("give a job, or samples and a protocol (mimflow evaluate --samples FILE.npz --protocol NAME)")
    from mimflow.stages.asked import measure

    _echo(measure(_plan(project), samples, protocol, labels, out))


@reference.command("make")
def make_reference(
    protocol: Annotated[str, typer.Argument(help="The protocol whose extractor looks at the reference.")],
    out: Annotated[Path, typer.Option(help="Where the statistics go: mu and sigma, as the ADM evaluator reads them.")],
    metric: Annotated[
        str | None, typer.Option(help="The metric whose reference is meant; not given: the protocol's own.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split of the data set instead: train or val.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Of the split, so many images.")] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Mirror each image of the split by a coin.")] = False,
    project: Project = HERE,
) -> None:
    """Write a reference's statistics as others read them: `mimflow reference make PROTOCOL --out FILE.npz`."""
    from mimflow.errors import PlanError
    from mimflow.metrics.reference.spec import SplitReferenceSpec
    from mimflow.stages.asked import make_reference as make

    if split is None and (count is not None or mirror):
        raise PlanError("--count and --mirror are of a split (--split train)")
    if split is not None and (metric is not None or split not in ("train", "val")):
        raise PlanError(f"--split {split}: train or val, and no --metric beside it")
    instead = None
    if split is not None:
        instead = SplitReferenceSpec.model_validate({"split": split, "count": count, "mirror": mirror})
    _echo(make(_plan(project), protocol, metric, instead, out))


@app.command()
def render(
    product: ProductName,
    partial: Annotated[bool, typer.Option("--partial", help="Render with the seeds that are there: n=2/3.")] = False,
    project: Project = HERE,
) -> None:
    """Render a product: its files and the numbers that `dvc metrics` shows."""
    from mimflow.products.render import render_product

    for path in render_product(_plan(project).product(product), partial):
        _echo(path)


@app.command()
def claims(
    page: Annotated[str, typer.Argument(help="A page of claims: claims or results/claims.md.")] = "claims",
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 2 where a verdict is not the committed one.")
    ] = False,
    project: Project = HERE,
) -> None:
    """Print each claim's verdict from the results that are there."""
    from mimflow.products.claims.product import ClaimsProduct
    from mimflow.products.claims.render import describe_claims

    product = _plan(project).product(page)
    if not isinstance(product, ClaimsProduct):
        raise PlanError(f"'{page}' is a {product.kind.name}, no page of claims")
    _echo(describe_claims(product, strict))


@app.command()
def dvc(project: Project = HERE) -> None:
    """Write dvc.yaml: it versions the store and the products that are made by default."""
    from mimflow.products.dvc import write_dvc

    _echo(write_dvc(_plan(project)))


@data.command()
def lock(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets of folders; all that are here if none.")] = None,
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Take names and sizes, not contents: seconds instead of minutes.")
    ] = False,
    project: Project = HERE,
) -> None:
    """Pin which files the folders of data sets hold: the pin enters the key, another folder is refused."""
    from mimflow.project.pins import lock as pinned

    for line in pinned(_workspace(project), names or [], contents=not names_only):
        _echo(line)


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="The checkpoint: .pth or .safetensors.")],
    source: Annotated[
        str,
        typer.Option(
            "--from", help="The layout: ml-tarflow, ml-itarflow, ml-starflow, sit, ldm, mar, diffusers, timm-vit."
        ),
    ],
    spec: Annotated[str, typer.Option(help="The run whose system it belongs to.")],
    out: Annotated[Path, typer.Option(help="The folder that the artifact goes to.")],
    part: Annotated[str | None, typer.Option(help="Of a file with several states, which: model, ema.")] = None,
    project: Project = HERE,
) -> None:
    """Make an artifact of a public checkpoint, or name the tensors that do not fit."""
    from mimflow.project.importing import import_checkpoint as import_artifact

    _echo(import_artifact(file, source, _workspace(project), spec, out, part))
