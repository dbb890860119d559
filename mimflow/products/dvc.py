"""`dvc.yaml` from the plan: DVC versions the store and the products that are made by default."""

from __future__ import annotations

from mimflow.artifacts.manifest import write_text
from mimflow.plan import paths
from mimflow.plan.build import Plan

HEAD = """\
# DVC versions what Snakemake makes: `dvc repro`, `dvc metrics diff`, `dvc push`. There is one DAG, Snakemake's.
# `persist` keeps DVC from deleting results before the command runs (docs/architecture.md).
# Written by `mimflow dvc` from the products that say `by_default: true`.
"""
DEPENDENCIES = ("Snakefile", "mimflow", "rules", "specs")
"""What the stage depends on, as far as it is the project's own: where mimflow is installed, its code is not."""


def dvc_yaml(plan: Plan) -> str:
    """The text of `dvc.yaml` for a plan."""
    products = plan.by_default()
    rendered = [file for product in products for file in (*product.files, paths.product_record(product.name))]
    lines = [
        "stages:",
        "  products:",
        "    cmd: snakemake --cores all",
        "    deps:",
        *(f"      - {name}" for name in DEPENDENCIES if (plan.root / name).exists()),
        "    outs:",
        *(f"      - {paths.STORE}/{folder}: {{persist: true}}" for folder in paths.FOLDERS.values()),
        *(f"      - {file}: {{cache: false, persist: true}}" for file in rendered),
        "    metrics:",
        f"      - {paths.METRICS}: {{cache: false, persist: true}}",
    ]
    return HEAD + "\n".join(lines) + "\n"


def write_dvc(plan: Plan) -> str:
    """Write `dvc.yaml` in the project's folder; returns its path."""
    path = plan.workspace.root / "dvc.yaml"
    write_text(path, dvc_yaml(plan))
    return str(path)
