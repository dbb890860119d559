"""The command line: one verb a stage, and verbs to look at specs, plans and results. Parses and calls; no logic.

Exit codes: 0 done, 2 a spec, plan or data problem, 3 not finite, 4 out of memory, 5 can't write or read, 6 locked, 7 a
bad artifact, 8 no such device, 9 another process of the job has ended, 10 numbers made again are different, 143 stopped
by a signal (training: after a checkpoint). Anything else is a bug.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from mimflow.compute.memory import memory_errors
from mimflow.errors import MimflowError, PlanError, storage_errors
from mimflow.progress import report
from mimflow.verbs import (
    HERE,
    ProductName,
    Project,
    SpecName,
    echo,
    examples,
    opened_plan,
    opened_workspace,
    outside,
    run_names,
    spec_names,
    stages,
    written,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},  # or what a command does is cut off
    epilog=examples(
        "mimflow init mine                         # a project of your own, with an example",
        "mimflow plan table1                       # what would run, why, and what it comes to",
        "snakemake --cores all results/table1.md   # run it",
        "mimflow status --watch                    # what runs now",
        "mimflow ls                                # what there is",
    ),
)


def _command(*shown: str, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with examples under its help."""
    return app.command(name, epilog=examples(*shown))


app.add_typer(outside)
app.add_typer(stages)
app.add_typer(written)


def _version(asked: bool) -> None:
    if asked:
        import mimflow

        echo(f"mimflow {mimflow.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Declarative experiments for generative-model papers."""


@cache
def commands() -> Any:
    """The command line as click has it, which takes a moment to be put together."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line. A user's mistake is a line on standard error and an exit code, never a traceback."""
    # A module of the standard library is never one that lies in the project's folder, in processes of ours neither.
    os.environ["PYTHONSAFEPATH"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 lacks some of our characters
    try:
        with memory_errors("out of memory (a smaller spec, or a machine with more)"), storage_errors("a file"):
            commands()()
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


@_command("mimflow validate", "mimflow validate tarflow-mnist5k")
def validate(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Specs, by name or file; all if none is given.", autocompletion=spec_names),
    ] = None,
    project: Project = HERE,
) -> None:
    """Check specs: every problem at once, with its place."""
    from mimflow.project.inspection import check

    echo(check(opened_workspace(project), names or []))


@_command(
    "mimflow plan table1",
    "mimflow plan results/table1.md --paths",
    "mimflow plan tarflow-mnist5k -s prior.width=64 -s seeds=[0,1]",
)
def plan(
    target: Annotated[
        str,
        typer.Argument(
            help="A product, a run, an ablation, a data set, a job, or a path of one.", autocompletion=spec_names
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", help="Of a run: write the variant with this setting, prior.width=64, and plan it."),
    ] = None,
    with_paths: Annotated[bool, typer.Option("--paths", help="Print what Snakemake can be asked for.")] = False,
    project: Project = HERE,
    memory: Annotated[bool, typer.Option("--memory", help="Say what memory and disk training needs instead.")] = False,
    memory_gb: Annotated[
        float | None, typer.Option("--memory-gb", help="The device's memory, where it is not compute.memory_gb.", min=0)
    ] = None,
) -> None:
    """List the jobs of a product, a run or an ablation, which would run, why, and what they come to."""
    if settings:
        from mimflow.project.variant import write_variant

        target = write_variant(lambda: opened_workspace(project), target, settings)
        echo(f"run {target}")
    if memory or memory_gb is not None:
        from mimflow.plan.memory import describe_memory

        echo(describe_memory(opened_plan(project), target, memory_gb))
        return
    from mimflow.plan.describe import describe_plan

    echo(describe_plan(opened_plan(project), target, with_paths))


@_command("mimflow ls", "mimflow ls runs", name="ls")
def list_(
    of: Annotated[
        Literal["runs", "products", "datasets"] | None, typer.Argument(help="All of these; not given: what is there.")
    ] = None,
    project: Project = HERE,
) -> None:
    """List runs, products and data sets: state, seeds, last loss, age, size, time, and what products still take."""
    from mimflow.plan.listing import list_all

    echo(list_all(opened_plan(project), of))


app.command("list", hidden=True, epilog=examples("mimflow list"))(list_)  # the word that other programs have for it


@_command("mimflow status", "mimflow status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")] = False,
    project: Project = HERE,
) -> None:
    """Show what runs now: step, speed, time left, last validation, health; and what was begun and given up."""
    from mimflow.plan.running import describe_running
    from mimflow.plan.running import watch as watched

    if watch:
        watched(project, echo, sys.stdout.isatty())
    echo(describe_running(project))


@_command(
    "mimflow curves tarflow-mnist5k",
    "mimflow curves tarflow-digits simflow-digits --columns loss,val_loss --over epoch --out compared.svg",
)
def curves(
    runs: Annotated[list[str], typer.Argument(help="Runs or ablations, by name.", autocompletion=spec_names)],
    columns: Annotated[str, typer.Option(help="Which columns of the logs, between commas; all if not given.")] = "",
    over: Annotated[Literal["step", "epoch"], typer.Option(help="What the curves are drawn over.")] = "step",
    phase: Annotated[str | None, typer.Option(help="One phase alone.")] = None,
    seed: Annotated[int | None, typer.Option(help="One seed alone.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture: .png, .svg or .pdf; not given: results/curves/RUN.png.")
    ] = None,
    project: Project = HERE,
) -> None:
    """Draw training curves, finished and running, into one picture, and print the last values."""
    from mimflow.products.asked_curves import Asked, compare_curves

    named = tuple(filter(None, columns.split(",")))
    echo(compare_curves(opened_plan(project), Asked(runs, named, over, phase, seed, out)))


@_command("mimflow new project flowers --images data/flowers", "mimflow new ablation lr --run flowers-tarflow")
def new(
    kind: Annotated[
        str, typer.Argument(help="dataset, classifier, run, ablation, protocol, table, figure, claim; project: all.")
    ],
    name: Annotated[str, typer.Argument(help="What it is to be called.")],
    images: Annotated[str | None, typer.Option(help="Of a data set or a project: the folder of your images.")] = None,
    size: Annotated[int, typer.Option(help="Pixels that a side of an image becomes.", min=1)] = 32,
    dataset: Annotated[
        str | None, typer.Option(help="The data set of a run or a protocol.", autocompletion=spec_names)
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            help="What an ablation varies, a table shows (several), a claim compares (two).", autocompletion=spec_names
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="What a table or claim is measured under.", autocompletion=spec_names)
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="The run that a new one extends, here or of those that come along.", autocompletion=run_names
        ),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="How long runs are trained: a few, to see it all work first.", min=0.01)
    ] = None,
    project: Project = HERE,
) -> None:
    """Write a commented spec to begin with: of a folder of images, all from data set to table."""
    from mimflow.project.new import Asked, from_root, write_new

    found = from_root(project, images) if images is not None else None
    asked = Asked(name, found, size, dataset, run or [], protocol, like, epochs)
    for path in write_new(lambda: opened_workspace(project), kind, asked):
        echo(path)


@_command("mimflow init mine && cd mine && snakemake --cores all")
def init(folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty.")]) -> None:
    """Make a project of your own: Snakefile, profiles, dvc.yaml, and specs that extend those that come along."""
    from mimflow.products.begin import begin_project

    for path in begin_project(folder):
        echo(path)


@_command("mimflow rm tarflow-mnist5k", "mimflow rm tarflow-mnist5k --delete")
def rm(
    runs: Annotated[list[str], typer.Argument(help="Runs, by name.", autocompletion=spec_names)],
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only listed.")] = False,
    project: Project = HERE,
) -> None:
    """List, or delete, results that only these runs reach."""
    from mimflow.plan.remove import remove_runs

    echo(remove_runs(opened_plan(project), runs, delete))


@_command("mimflow explain tarflow-mnist5k")
def explain(name: SpecName, project: Project = HERE) -> None:
    """Print a spec as it is resolved, with the place that each value comes from."""
    from mimflow.project.inspection import explain as explained

    echo(explained(opened_workspace(project), name))


@_command(
    "mimflow diff tarflow-mnist5k tarflow-imagenet64-cond",
    "mimflow diff HEAD~3:tarflow-mnist5k tarflow-mnist5k",
    "mimflow diff tarflow-mnist5k results/by-name/checkpoints/tarflow-mnist5k.main.s0",
)
def diff(
    left: Annotated[
        str,
        typer.Argument(
            help="A spec, one at a revision (HEAD~3:NAME), or a result's folder.", autocompletion=spec_names
        ),
    ],
    right: Annotated[str, typer.Argument(help="Another of the same kind.", autocompletion=spec_names)],
    project: Project = HERE,
) -> None:
    """Print the fields in which two specs differ, of today or of revisions, or a run and a finished result."""
    from mimflow.products.compare import diff as compared

    echo(compared(project, left, right))


@_command("mimflow why table1 --row TARFlow --column guided.fid")
def why(
    product: ProductName,
    row: Annotated[str | None, typer.Option(help="Of a table: a run's name or its label.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a table: a heading, or output.metric.")] = None,
    project: Project = HERE,
) -> None:
    """Trace a product, or one number of it, back to spec, seeds, commit and checkpoint."""
    from mimflow.products.trace import why as traced

    echo(traced(opened_plan(project).product(product), row, column))


@_command("mimflow reproduce results/table1.md", "mimflow reproduce table1 --row tarflow-mnist5k --keep again")
def reproduce(
    product: ProductName,
    row: Annotated[list[str] | None, typer.Option(help="Only a row, by its run or label; several if repeated.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="How far off numbers may be, as a share; not given: 0, elsewhere 0.02."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="A folder for what is made; there another call goes on. Not given: none.")
    ] = None,
    project: Project = HERE,
) -> None:
    """Make a product's numbers again from its record and compare each: exit 10 where one is different."""
    from mimflow.stages.reproduce import DifferentError
    from mimflow.stages.reproduce import reproduce as made_again

    found = made_again(opened_plan(project), product, row or [], tolerance, keep)
    echo(found.text)
    if found.different:
        raise DifferentError(f"{found.product}: {found.different} of {len(found.numbers)} numbers are different")


@_command("mimflow weights")
def weights(project: Project = HERE) -> None:
    """List the files of weights that only you can bring: which are there, and where the others are published."""
    from mimflow.project.weights import describe_weights

    echo(describe_weights(opened_workspace(project)))


@_command("mimflow gc", "mimflow gc --delete")
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only listed.")] = False,
    project: Project = HERE,
) -> None:
    """List, or delete, results in the store that no spec reaches any more."""
    from mimflow.plan.collect_garbage import collect

    echo(collect(opened_plan(project), delete))


@_command("mimflow render table1", "mimflow render table1 --partial")
def render(
    product: ProductName,
    partial: Annotated[bool, typer.Option("--partial", help="Render with the seeds that are there: n=2/3.")] = False,
    project: Project = HERE,
) -> None:
    """Render a product: its files and the numbers that `dvc metrics` shows."""
    from mimflow.products.render import render_product

    for path in render_product(opened_plan(project).product(product), partial):
        echo(path)


@_command("mimflow claims", "mimflow claims --strict")
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

    product = opened_plan(project).product(page)
    if not isinstance(product, ClaimsProduct):
        raise PlanError(f"'{page}' is a {product.kind.name}, no page of claims")
    echo(describe_claims(product, strict))


@_command("mimflow dvc")
def dvc(project: Project = HERE) -> None:
    """Write dvc.yaml: it versions the store and the products that are made by default."""
    from mimflow.products.dvc import write_dvc

    echo(write_dvc(opened_plan(project)))
