"""A project of one's own, with what follows from the kinds of product that there are: schemas, `dvc.yaml`."""

from __future__ import annotations

from pathlib import Path

from mimflow.products.dvc import write_dvc
from mimflow.products.registry import PRODUCTS, open_plan
from mimflow.project.begin import begin
from mimflow.project.schemas import write_schemas


def begin_project(folder: Path) -> list[str]:
    """Make a project in a folder that is not there or empty; what was written. PlanError if anything is in it."""
    written = [str(folder / path) for path in begin(folder)]
    write_schemas(folder / "specs/schemas", PRODUCTS)
    return [*written, str(folder / "specs/schemas"), write_dvc(open_plan(folder))]
