"""Training curves that somebody asks to see: those of runs, finished or under way, in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.log import LEADING, LOG, VALIDATION, read_log
from mimflow.artifacts.manifest import write_atomically
from mimflow.errors import PlanError
from mimflow.plan.activity import activity, rows_so_far
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.products.curves import Curve, columns_of, draw_curves
from mimflow.spec.compose import nearest

FOLDER = "results/curves"
KINDS = ("png", "svg", "pdf")
NAME_LIMIT = 100
"""Characters of a picture's name that is made of runs' names."""
SHOWN = ("loss", f"{VALIDATION}loss")
"""The columns whose last values are printed where nobody asks for others."""


@dataclass(frozen=True)
class Asked:
    """What is to be drawn."""

    runs: Sequence[str]
    """Runs and ablations."""
    columns: Sequence[str] = ()
    """None: all."""
    over: str = "step"
    phase: str | None = None
    seed: int | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Drawn:
    """A training's curve, and what is said of it."""

    curve: Curve
    state: str
    """`done`, or how far it is."""


def compare_curves(plan: Plan, asked: Asked) -> str:
    """Draw the curves that are asked for; a line for each with its last values, and the path of the picture.

    PlanError for a run, a phase, a seed or a column that there is not, and where no training has begun.
    """
    out = asked.out or plan.root / FOLDER / f"{'+'.join(asked.runs)[:NAME_LIMIT]}.png"
    kind = out.suffix.removeprefix(".")
    if kind not in KINDS:
        raise PlanError(f"{out}: '{kind}' is no kind of picture that is drawn (--out FILE.png, .svg or .pdf)")
    jobs = _jobs(plan, asked)
    found = [drawn for job in jobs if (drawn := _drawn(plan.root, job)) is not None]
    if not found:
        raise PlanError(
            f"{', '.join(asked.runs)}: no training has begun yet (run `snakemake --cores all {jobs[0].manifest}`)"
        )
    curves = [drawn.curve for drawn in found]
    there = columns_of(curves)
    for column in asked.columns:
        if column not in there:
            raise PlanError(f"no log has a column '{column}' ({nearest(column, there) or ', '.join(there)})")
    picture = draw_curves(curves, kind=kind, columns=asked.columns, over=asked.over)
    write_atomically(out, lambda temporary: temporary.write_bytes(picture))
    waiting = len(jobs) - len(found)
    return "\n".join(
        [
            *_table(found, asked.columns or [name for name in SHOWN if name in there] or there),
            *([f"{waiting} not begun"] if waiting else []),
            str(out.relative_to(plan.root) if asked.out is None else out),
        ]
    )


def _jobs(plan: Plan, asked: Asked) -> list[Job]:
    """The train jobs that are meant, each once: runs may share phases."""
    runs = list(dict.fromkeys(run for name in asked.runs for run in _runs(plan, name)))
    jobs = {job.id: job for run in runs for job in _of_run(plan, run, asked)}
    if not jobs:
        raise PlanError(f"{', '.join(asked.runs)}: nothing is trained: weights are given")
    return list(jobs.values())


def _of_run(plan: Plan, run: str, asked: Asked) -> Iterator[Job]:
    spec = plan.workspace.runs[run].spec
    if asked.seed is not None and asked.seed not in spec.seeds:
        seeds = ", ".join(map(str, spec.seeds))
        raise PlanError(f"run '{run}' has no seed {asked.seed} (its seeds are {seeds})")
    if asked.phase is not None and asked.phase not in spec.phases:
        raise PlanError(f"run '{run}' has no phase '{asked.phase}' ({nearest(asked.phase, spec.phases)})")
    for seed in spec.seeds if asked.seed is None else [asked.seed]:
        yield from (
            job for job in plan.trained(run, seed) if asked.phase is None or job.name == f"{run}.{asked.phase}.s{seed}"
        )


def _runs(plan: Plan, name: str) -> list[str]:
    workspace = plan.workspace
    if name in workspace.ablations:
        return workspace.members(name)
    if name not in workspace.runs:
        workspace.raise_problems()  # a spec that is wrong may be what it means
        hint = nearest(name, [*workspace.runs, *workspace.ablations])
        raise PlanError(f"no run or ablation '{name}'" + (f" ({hint})" if hint else ""))
    return [name]


def _drawn(root: Path, job: Job) -> Drawn | None:
    """The curve of a training that is done or under way; None of one that has shown nothing yet."""
    artifact = job.result(root)
    if artifact is not None:
        rows = read_log(artifact) if LOG in artifact.manifest.files else []
        return Drawn(Curve(job.name, rows), "done")
    under_way, rows = activity(root, job.id), rows_so_far(root, job.id)
    return Drawn(Curve(job.name, rows), under_way.words) if rows and under_way is not None else None


def _table(found: Sequence[Drawn], columns: Sequence[str]) -> Iterator[str]:
    """The last values of each curve in columns under their heads."""
    names = ["step", *(name for name in columns if name not in LEADING[:1])]
    rows = [["training", *names, "state"]]
    for drawn in found:
        last = [[row[name] for row in drawn.curve.rows if name in row][-1:] for name in names]
        rows.append([drawn.curve.name, *("".join(f"{value:.6g}" for value in each) for each in last), drawn.state])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *cells, state in rows:
        aligned = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:-1], strict=True)]
        yield "  ".join([f"{name:{widths[0]}}", *aligned, state])
