"""`dvc.yaml` from the plan: DVC versions the store and the products that are made by default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import write_text
from mimflow.errors import SpecError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.product import Product
from mimflow.products.logs import logged
from mimflow.project.workspace import Loaded, files_of

FILE = "dvc.yaml"
HEAD = """\
# DVC versions what Snakemake makes: `dvc repro`, `dvc metrics diff`, `dvc push`. There is one DAG, Snakemake's.
# `persist` keeps DVC from deleting results before the command runs (docs/architecture.md).
# Written by `mimflow dvc` from the products that say `by_default: true`.
"""
DEPENDENCIES = ("Snakefile", "mimflow", "rules", "specs")
"""What the stage depends on, as far as it is the project's own: where mimflow is installed, its code is not."""
PICTURES = (".png", ".svg")
"""The endings of files that `dvc plots` shows as they are."""


def dvc_yaml(plan: Plan) -> str:
    """The text of `dvc.yaml` for a plan. SpecError if a product that may be made by default is wrong."""
    products = plan.by_default()
    rendered = [file for product in products for file in (*product.files, paths.product_record(product.name))]
    params = list(dict.fromkeys(file for product in products for file in _specs(plan, product)))
    plots = [line for product in products for line in _plots(product)]
    lines = [
        "stages:",
        "  products:",
        "    cmd: snakemake --cores all",
        "    deps:",
        *(f"      - {name}" for name in DEPENDENCIES if (plan.root / name).exists()),
        "    outs:",
        *(f"      - {paths.STORE}/{folder}: {{persist: true}}" for folder in paths.FOLDERS.values()),
        *(f"      - {file}: {{cache: false, persist: true}}" for file in (*rendered, paths.PLOTS)),
        "    metrics:",
        f"      - {paths.METRICS}: {{cache: false, persist: true}}",
        *(["params:", *(f"  - {file}" for file in params)] if params else []),
        *(["plots:", *plots] if plots else []),
    ]
    return HEAD + "\n".join(lines) + "\n"


def _specs(plan: Plan, product: Product) -> Iterator[str]:
    """The files of the project that the runs, the ablations and the protocols of a product are written in, sorted.

    Those that a spec extends are among them; those that come with mimflow are not.
    """
    runs = plan.workspace.runs
    named = {name.partition(".")[0] for name in product.jobs()} & runs.keys()
    named |= {job.name.partition(".")[0] for job in logged(product).values()} & runs.keys()
    protocols = {*getattr(product.spec, "protocols", ()), getattr(product.spec, "protocol", None)}
    found: list[Loaded[Any]] = [runs[run] for run in named]
    found += [loaded for name, loaded in plan.workspace.protocols.items() if name in protocols]
    files = {file for loaded in found for file in files_of(loaded.node)}
    yield from sorted(file for file in files if (plan.root / file).is_file() and not Path(file).is_absolute())


def _plots(product: Product) -> Iterator[str]:
    """A product's pictures, and of each run that it trains the loss over the steps of the last phase, a line a seed.

    A file that is both `.png` and `.svg` is shown once.
    """
    pictures = {file.rpartition(".")[0]: file for file in reversed(product.files) if file.endswith(PICTURES)}
    yield from (f"  - {file}" for file in pictures.values())
    runs: dict[str, list[str]] = {}
    for name in logged(product):
        runs.setdefault(name.partition(".")[0], []).append(name)
    for run, names in runs.items():
        yield f"  - {json.dumps(f'{product.name}: loss of {run}')}:"
        yield "      x: step"
        yield "      y:"
        yield from (f"        {paths.log_file(product.name, name)}: loss" for name in names)


def write_dvc(plan: Plan) -> str:
    """Write `dvc.yaml` in the project's folder, and drop numbers of products that are no more; returns its path."""
    path = plan.workspace.root / FILE
    write_text(path, dvc_yaml(plan))
    drop_numbers(plan)
    return str(path)


def outdated(plan: Plan) -> bool:
    """Whether the project's `dvc.yaml`, if it is one that `mimflow dvc` has written, is not what it would write now."""
    path = plan.workspace.root / FILE
    try:
        text = path.read_text(encoding="utf-8")
        return text.startswith(HEAD) and text != dvc_yaml(plan)
    except (OSError, UnicodeDecodeError, SpecError):
        return False


def drop_numbers(plan: Plan) -> None:
    """Remove what `dvc metrics` and `dvc plots` would show of products that no spec describes any more."""
    if plan.workspace.problems:  # a spec that is wrong just now may describe one
        return
    for parent, files in ((paths.METRICS, "*.json"), (paths.PLOTS, "*.csv")):
        for folder in sorted((plan.root / parent).glob("*")):
            if folder.is_dir() and folder.name not in plan.products:
                with suppress(OSError):  # of a project that can only be read, or with other files in it
                    for file in folder.glob(files):
                        file.unlink()
                    folder.rmdir()
