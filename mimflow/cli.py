"""The command line: one verb a stage, and verbs to look at specs, plans and results. Parses and calls; no logic.

Exit codes: 0 done, 2 a spec, plan or data problem, 3 not finite, 4 out of memory, 5 can't write or read, 6 locked, 7 a
bad artifact, 8 no such device, 143 stopped by a signal (training: after a checkpoint). Anything else is a bug.
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
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from mimflow.compute.memory import memory_errors
from mimflow.errors import MimflowError, StorageError, storage_errors
from mimflow.progress import report

if TYPE_CHECKING:
    from mimflow.plan.build import Plan
    from mimflow.plan.handover import HandedOver
    from mimflow.project.workspace import Workspace


def _examples(*lines: str) -> str:
    """Commands to show under a help text, as they are typed."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=_examples(
        "mimflow init mine                         # a project of your own, with an example",
        "mimflow plan table1                       # what would run, why, and what it comes to",
        "snakemake --cores all results/table1.md   # run it",
        "mimflow status --watch                    # what runs now",
        "mimflow ls                                # what there is",
    ),
)


def _command(*examples: str, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with examples under its help."""
    return app.command(name, epilog=_examples(*examples))


data = typer.Typer(no_args_is_help=True, help="Data sets of your own.")
app.add_typer(data, name="data")


def _found(project: Path) -> Path:
    from mimflow.plan.paths import project_of

    return project_of(project)


def _spec_names(incomplete: str) -> list[str]:
    # For shell completion, by files alone: it has to be there at once.
    return sorted({file.stem for file in (_found(HERE) / "specs").rglob(f"{incomplete}*.yaml")})


Project = Annotated[
    Path, typer.Option("--project", help="The folder that holds specs/, or one inside it.", callback=_found)
]
HERE = Path()
JobName = Annotated[str, typer.Argument(help="A job's id or name, as `mimflow plan` prints them.")]
ProductName = Annotated[str, typer.Argument(help="A product: table1 or results/table1.md.", autocompletion=_spec_names)]
SpecName = Annotated[str, typer.Argument(help="A spec, by name or file.", autocompletion=_spec_names)]
Planned = Annotated[
    bool, typer.Option("--planned", help="Do the job as Snakemake has planned it, whatever specs say by now.")
]
StrictCode = Annotated[bool, typer.Option("--strict-code", help="Refuse results made by other code than now.")]


def _version(asked: bool) -> None:
    if asked:
        import mimflow

        _echo(f"mimflow {mimflow.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Declarative experiments for generative-model papers."""


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


@_command("mimflow validate", "mimflow validate tarflow-mnist5k")
def validate(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Specs, by name or file; all if none is given.", autocompletion=_spec_names),
    ] = None,
    project: Project = HERE,
) -> None:
    """Check specs: every problem at once, with its place."""
    from mimflow.project.inspection import check

    _echo(check(_workspace(project), names or []))


@_command(
    "mimflow plan table1",
    "mimflow plan results/table1.md --paths",
    "mimflow plan tarflow-mnist5k -s prior.width=64 -s seeds=[0,1]",
)
def plan(
    target: Annotated[
        str,
        typer.Argument(
            help="A product, a run, an ablation, a data set, a job, or a path of one.", autocompletion=_spec_names
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", help="Of a run: write the variant with this setting, prior.width=64, and plan it."),
    ] = None,
    with_paths: Annotated[bool, typer.Option("--paths", help="Print what Snakemake can be asked for.")] = False,
    project: Project = HERE,
) -> None:
    """List the jobs of a product, a run or an ablation, which would run, why, and what they come to."""
    from mimflow.plan.describe import describe_plan

    if settings:
        from mimflow.project.variant import write_variant

        target = write_variant(lambda: _workspace(project), target, settings)
        _echo(f"run {target}")
    _echo(describe_plan(_plan(project), target, with_paths))


@_command("mimflow ls", "mimflow ls runs", name="ls")
def list_(
    of: Annotated[
        Literal["runs", "products", "datasets"] | None, typer.Argument(help="All of these; not given: what is there.")
    ] = None,
    project: Project = HERE,
) -> None:
    """List runs, products and data sets: state, seeds, last loss, age, size, time."""
    from mimflow.plan.listing import list_all

    _echo(list_all(_plan(project), of))


@_command("mimflow status", "mimflow status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")] = False,
    project: Project = HERE,
) -> None:
    """Show what runs now: step, speed, time left, last validation, health; and what was begun and given up."""
    from mimflow.plan.running import describe_running
    from mimflow.plan.running import watch as watched

    if watch:
        watched(project, _echo, sys.stdout.isatty())
    _echo(describe_running(project))


@_command("mimflow new project flowers --images data/flowers", "mimflow new ablation lr --run flowers-tarflow")
def new(
    kind: Annotated[str, typer.Argument(help="dataset, classifier, run, ablation, protocol, table; project: all.")],
    name: Annotated[str, typer.Argument(help="What it is to be called.")],
    images: Annotated[str | None, typer.Option(help="Of a data set or a project: the folder of your images.")] = None,
    size: Annotated[int, typer.Option(help="Pixels that a side of an image becomes.", min=1)] = 32,
    dataset: Annotated[str | None, typer.Option(help="The data set of a run or a protocol.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="What an ablation varies, a table shows (several).")] = None,
    protocol: Annotated[str | None, typer.Option(help="What a table is measured under.")] = None,
    like: Annotated[str | None, typer.Option(help="The run that a new one extends, of those that come along.")] = None,
    project: Project = HERE,
) -> None:
    """Write a commented spec to begin with: of a folder of images, all from data set to table."""
    from mimflow.project.new import Asked, write_new

    asked = Asked(name, images, size, dataset, run or [], protocol, like)
    for path in write_new(lambda: _workspace(project), kind, asked):
        _echo(path)


@_command("mimflow init mine && cd mine && snakemake --cores all")
def init(folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty.")]) -> None:
    """Make a project of your own: Snakefile, profiles, dvc.yaml, and specs that extend those that come along."""
    from mimflow.products.begin import begin_project

    for path in begin_project(folder):
        _echo(path)


@_command("mimflow rm tarflow-mnist5k", "mimflow rm tarflow-mnist5k --delete")
def rm(
    runs: Annotated[list[str], typer.Argument(help="Runs, by name.", autocompletion=_spec_names)],
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only listed.")] = False,
    project: Project = HERE,
) -> None:
    """List, or delete, results that only these runs reach."""
    from mimflow.plan.remove import remove_runs

    _echo(remove_runs(_plan(project), runs, delete))


@_command("mimflow explain tarflow-mnist5k")
def explain(name: SpecName, project: Project = HERE) -> None:
    """Print a spec as it is resolved, with the place that each value comes from."""
    from mimflow.project.inspection import explain as explained

    _echo(explained(_workspace(project), name))


@_command("mimflow diff tarflow-mnist5k tarflow-imagenet64-cond")
def diff(
    left: SpecName,
    right: Annotated[str, typer.Argument(help="Another of the same kind.", autocompletion=_spec_names)],
    project: Project = HERE,
) -> None:
    """Print the fields in which two specs differ."""
    from mimflow.project.inspection import diff as compared

    _echo(compared(_workspace(project), left, right))


@_command("mimflow why table1 --row TARFlow --column guided.fid")
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
    folder: Annotated[Path | None, typer.Argument(help="Where they go; not given: specs/schemas.")] = None,
    project: Project = HERE,
) -> None:
    """Write the JSON Schemas that let editors complete and check specs."""
    from mimflow.products.registry import PRODUCTS
    from mimflow.project.schemas import write_schemas

    for path in write_schemas(folder or project / "specs/schemas", PRODUCTS):
        _echo(path)


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


STAGES = {
    "prepare": "Prepare a data set.",
    "features": "Compute a frozen network's features of a data set.",
    "train": "Train one phase of a run, or go on with it.",
    "infer": "Make what a table asks of a trained run: samples, reconstructions, a representation.",
    "evaluate": "Measure what a trained run gave.",
}


def _verb(stage: str) -> Callable[..., None]:
    """The command that runs a job of a stage."""

    def run(job: JobName, project: Project = HERE, strict_code: StrictCode = False, planned: Planned = False) -> None:
        from mimflow.errors import PlanError
        from mimflow.plan.handover import handed_over
        from mimflow.stages.runner import run_job

        _end_with_parent()
        made: Plan | HandedOver
        if planned and (handed := handed_over(project, job)) is not None:
            made, found = handed, handed.job
        else:
            made = _plan(project)
            found = made.job(job)
        if found.stage != stage:
            raise PlanError(f"'{job}' is a job of stage {found.stage}: mimflow {found.stage} {job}")
        run_job(made, found, strict_code)

    return run


for _name, _text in STAGES.items():
    app.command(_name, help=_text)(_verb(_name))


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
    source: Annotated[str, typer.Option("--from", help="The layout: ml-tarflow, ml-itarflow, ml-starflow or sit.")],
    spec: Annotated[str, typer.Option(help="The run whose system it belongs to.")],
    out: Annotated[Path, typer.Option(help="The folder that the artifact goes to.")],
    part: Annotated[str | None, typer.Option(help="Of a file with several states, which: model, ema.")] = None,
    project: Project = HERE,
) -> None:
    """Make an artifact of a public checkpoint, or name the tensors that do not fit."""
    from mimflow.project.importing import import_checkpoint as import_artifact

    _echo(import_artifact(file, source, _workspace(project), spec, out, part))
