"""The numbers of a table as a data frame."""

from __future__ import annotations

import io
from pathlib import Path

import pandas

from mimflow.errors import PlanError
from mimflow.products.registry import open_plan
from mimflow.products.table.collect import collect
from mimflow.products.table.layout import tidy
from mimflow.products.table.product import TableProduct
from mimflow.project.locate import find_project


def results(table: str, *, project: Path | str | None = None) -> pandas.DataFrame:
    """What has been measured of a table: a line for each row, output and metric.

    Columns: `row` (its label), `run`, `output`, `metric`; `value` (the mean over seeds), `std` (over seeds, with n − 1;
    NaN for one), `n` (seeds), `count` (images that were measured, for each seed); `protocol`; `source` of published
    numbers; `key` (the evaluate jobs). Values are in full precision. What is not in the store yet has no line.

    `project` is the folder that holds `specs`; by default the one that the working folder lies in. Raises PlanError if
    there is no such table, SpecError if its spec is wrong, ArtifactError if a result is corrupt.
    """
    product = open_plan(find_project(project)).product(table)
    if not isinstance(product, TableProduct):
        raise PlanError(f"'{table}' is a {product.kind.name}, which has no rows of numbers (the name of a table)")
    return pandas.read_csv(io.StringIO(tidy(collect(product))))
