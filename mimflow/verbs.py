"""What commands share, the types of their options; verbs of stages, of what comes from outside, of generated files."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mimflow.errors import PlanError, StorageError
from mimflow.plan.paths import SHARDED
from mimflow.project.locate import find_project
from mimflow.spec.shipped import SHIPPED

if TYPE_CHECKING:
    from mimflow.plan.build import Plan
    from mimflow.plan.handover import HandedOver
    from mimflow.project.workspace import Workspace


def spec_names(incomplete: str) -> list[str]:
    """Names of specs that begin so, for shell completion: by files alone, as it has to be there at once."""
    return sorted({file.stem for file in (find_project(HERE) / "specs").rglob(f"{incomplete}*.yaml")})


def run_names(incomplete: str) -> list[str]:
    """Names of specs that begin so, here and of runs that come along."""
    shipped = [
        file for folder in ("mini", "systems") for file in (SHIPPED / "specs" / folder).glob(f"{incomplete}*.yaml")
    ]
    return sorted({*spec_names(incomplete), *(file.stem for file in shipped)})


Project = Annotated[
    Path, typer.Option("--project", help="The folder that holds specs/, or one inside it.", callback=find_project)
]
HERE = Path()
JobName = Annotated[str, typer.Argument(help="A job's id or name, as `mimflow plan` prints them.")]
ProductName = Annotated[str, typer.Argument(help="A product: table1 or results/table1.md.", autocompletion=spec_names)]
SpecName = Annotated[str, typer.Argument(help="A spec, by name or file.", autocompletion=spec_names)]
Planned = Annotated[
    bool, typer.Option("--planned", help="Do the job as Snakemake has planned it, whatever specs say by now.")
]
ShardOf = Annotated[
    str | None,
    typer.Option("--shard", help="Only draw the pieces of one of so many jobs, 2/8; the job without it finds them."),
]
StrictCode = Annotated[bool, typer.Option("--strict-code", help="Refuse results made by other code than now.")]


def echo(text: object) -> None:
    """Print a result. Whoever reads it may have seen enough: nothing is lost."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        raise StorageError(f"standard output: can't write: {error.strerror}") from error


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """What specs and plans are made of stays until the end: to look for garbage among it would take a tenth longer."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def opened_workspace(project: Path) -> Workspace:
    """The specs of a project."""
    with _nothing_is_garbage():
        from mimflow.products.registry import open_workspace

        return open_workspace(project)


def opened_plan(project: Path) -> Plan:
    """The plan of a project."""
    with _nothing_is_garbage():
        from mimflow.products.registry import open_plan

        return open_plan(project)


def examples(*lines: str) -> str:
    """Commands to show under a help text, as they are typed."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


stages = typer.Typer()
"""The verbs of the stages."""
outside = typer.Typer()
"""The verbs of what comes from outside: folders of images, public checkpoints."""
written = typer.Typer()
"""Verbs that write files which follow from the specs and the code."""
data = typer.Typer(no_args_is_help=True, help="Data sets of your own.")
outside.add_typer(data, name="data")


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
stages.add_typer(reference, name="reference")


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
        made = opened_plan(project)
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
    stages.command(_name, help=_text)(_verb(_name))
reference.command("job", hidden=True, help="Compute statistics of a reference.")(_verb("reference"))


@stages.command()
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
    if job is not None and samples is None and protocol is None:
        _run("evaluate", job, project, strict_code, planned)
        return
    if job is not None or samples is None or protocol is None:
        raise PlanError("give a job, or samples and a protocol (mimflow evaluate --samples FILE.npz --protocol NAME)")
    from mimflow.stages.asked import measure

    echo(measure(opened_plan(project), samples, protocol, labels, out))


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
    from mimflow.metrics.reference.spec import SplitReferenceSpec
    from mimflow.stages.asked import make_reference as make

    if split is None and (count is not None or mirror):
        raise PlanError("--count and --mirror are of a split (--split train)")
    if split is not None and (metric is not None or split not in ("train", "val")):
        raise PlanError(f"--split {split}: train or val, and no --metric beside it")
    instead = None
    if split is not None:
        instead = SplitReferenceSpec.model_validate({"split": split, "count": count, "mirror": mirror})
    echo(make(opened_plan(project), protocol, metric, instead, out))


@data.command(epilog=examples("mimflow data lock flowers", "mimflow data lock --names-only"))
def lock(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets of folders; all that are here if none.")] = None,
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Take names and sizes, not contents: seconds instead of minutes.")
    ] = False,
    project: Project = HERE,
) -> None:
    """Pin which files the folders of data sets hold: the pin enters the key, another folder is refused."""
    from mimflow.project.pins import lock as pinned

    for line in pinned(opened_workspace(project), names or [], contents=not names_only):
        echo(line)


@outside.command(
    "import-checkpoint",
    epilog=examples(
        "mimflow import-checkpoint model.pth --from ml-tarflow --spec tarflow-imagenet64-cond --out weights/tarflow"
    ),
)
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

    echo(import_artifact(file, source, opened_workspace(project), spec, out, part))


@written.command(epilog=examples("mimflow schema"))
def schema(
    folder: Annotated[Path | None, typer.Argument(help="Where they go; not given: specs/schemas.")] = None,
    project: Project = HERE,
) -> None:
    """Write the JSON Schemas that let editors complete and check specs."""
    from mimflow.products.registry import PRODUCTS
    from mimflow.project.schemas import write_schemas

    for path in write_schemas(folder or project / "specs/schemas", PRODUCTS):
        echo(path)


@written.command(epilog=examples("mimflow metrics docs/metrics.md"))
def metrics(
    file: Annotated[Path, typer.Argument(help="Where the page goes.")] = Path("docs/metrics.md"),
) -> None:
    """Write the page of metrics: what each is, where it was published, and what a protocol can set."""
    from mimflow.artifacts.manifest import write_text
    from mimflow.project.metrics_page import metrics_page

    write_text(file, metrics_page())
    echo(file)


@written.command(epilog=examples("mimflow papers", "mimflow papers docs/papers.md"))
def papers(
    file: Annotated[Path | None, typer.Argument(help="Where the page goes: docs/papers.md if not given.")] = None,
    project: Project = HERE,
) -> None:
    """Write the page of papers: which spec makes which table, figure and claim, and what the paper's scale needs."""
    from mimflow.artifacts.manifest import write_text
    from mimflow.products.papers import papers_page

    file = file or project / "docs/papers.md"
    write_text(file, papers_page(opened_workspace(project)))
    echo(file)
