"""What a person means by a word: a product, a run, an ablation, a data set, a job, or the path of any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mimflow.errors import PlanError, SpecError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.jobs import Job
from mimflow.plan.product import Product
from mimflow.project.inspection import spec_of_file
from mimflow.spec.compose import nearest

KINDS = ("run", "ablation", "dataset")
"""The kinds of spec, besides products, that jobs can be asked of, in the order in which a name is looked for."""
PAPERS = "papers"
"""What all products that are of papers are called together, here and as a target of Snakemake's."""


@dataclass(frozen=True)
class Target:
    """Something that can be made: products, or the jobs of something else."""

    what: str
    """`table table1`, `run tarflow`, `job infer tarflow.s0.guided`."""
    jobs: tuple[Job, ...]
    """The jobs whose results are asked for."""
    products: tuple[Product, ...] = ()


def find_target(plan: Plan, word: str) -> Target:
    """What a name or a path means. PlanError with the nearest name if it means nothing.

    A product goes before a run of its name, and these before a job: the path of its spec means the one that it is.
    SpecError if something is wrong with what is meant, or with what that names.
    """
    inside = _inside(plan.root, word)
    parts = inside.parts
    if parts[:2] == Path(paths.STORE).parts and len(parts) > 3:
        return _job(plan, plan.job(parts[3]))
    if parts[:2] == Path(paths.BY_NAME).parts and len(parts) > 3:
        stages = {folder: stage for stage, folder in paths.FOLDERS.items()}
        return _job(plan, plan.job(parts[3], stages.get(parts[2])))
    if parts[:1] == ("specs",) and len(parts) > 1:
        kind, name = spec_of_file(plan.workspace, word)
        return _named(plan, kind, name)
    if (parts[:1] == ("results",) and len(parts) > 1) or word in plan.pages:
        return _product(plan.product(word))
    for kind in (*(kind.name for kind in plan.workspace.products), *KINDS):
        if (kind, word) in plan.workspace.files or (kind == "run" and word in plan.workspace.runs):
            return _named(plan, kind, word)
    if word in plan.jobs or any(name == word for _, name in plan.names):
        return _job(plan, plan.job(word))
    if word == PAPERS:
        products = tuple(plan.of_papers())
        asked = {job.id: job for product in products for job in product.jobs().values()}
        return Target("the papers' items", tuple(asked.values()), products)
    known = [*plan.products, *(loaded.name for kind in KINDS for loaded in plan.workspace.all(kind))]
    hint = nearest(word, known) or nearest(word, [name for _, name in plan.names])
    plan.workspace.raise_problems()  # a spec that is wrong may be what it means
    raise PlanError(f"no product, run, ablation, data set or job '{word}'" + (f" ({hint})" if hint else ""))


def _inside(root: Path, word: str) -> Path:
    """A path as it is seen from the project's folder; a word that is no path there stays as it is."""
    here = Path(os.path.normpath(Path(word).absolute()))
    project = Path(os.path.normpath(root.absolute()))
    return here.relative_to(project) if here.is_relative_to(project) and "/" in word else Path(word)


def _named(plan: Plan, kind: str, name: str) -> Target:
    workspace = plan.workspace
    if problems := workspace.problems_of((kind, name)):
        raise SpecError("\n".join(problems))
    if name in plan.products and kind == plan.products[name].kind.name:
        return _product(plan.products[name])
    jobs: Mapping[str, list[str]] = {"run": [name], "ablation": workspace.members(name) if kind == "ablation" else []}
    if kind == "dataset":
        return Target(f"data set {name}", (plan.prepare(name),))
    if kind not in jobs:
        raise PlanError(f"'{name}' is a {kind}: no job is made of it alone (name a run, an ablation or a product)")
    return Target(f"{kind} {name}", tuple(job for run in jobs[kind] for job in run_jobs(plan, run)))


def run_jobs(plan: Plan, run: str) -> list[Job]:
    """The jobs that train a run, all its phases for each seed, and those that its page and products ask of its outputs.

    SpecError if something is wrong with the run, or with what it names.
    """
    for kind in plan.workspace.of_runs:
        plan.product(f"{kind.folders[0]}/{run}")  # plans what it shows
    trained = [job for seed in plan.workspace.runs[run].spec.seeds for job in plan.trained(run, seed)]
    asked = [job for (_, name), job in plan.names.items() if job.stage != "train" and name.startswith(f"{run}.")]
    return [*trained, *asked]


def _product(product: Product) -> Target:
    return Target(f"{product.kind.name} {product.name}", tuple(product.jobs().values()), (product,))


def _job(plan: Plan, job: Job) -> Target:
    return Target(f"job {job.stage} {job.name}", (job,))
