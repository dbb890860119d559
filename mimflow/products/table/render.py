"""The files of a table: Markdown, TeX, CSV, a picture of samples, and numbers for `dvc metrics`."""

from __future__ import annotations

import json
from pathlib import Path

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.samples import PAIRS, SAMPLES
from mimflow.plan import paths
from mimflow.products.table.collect import collect
from mimflow.products.table.layout import tidy
from mimflow.products.table.model import Row, Table
from mimflow.products.table.picture import Strip, picture, read_strip
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.results import open_done
from mimflow.products.table.templating import render_markdown, render_tex, render_users


def render_table(table: TableProduct) -> dict[str, bytes]:
    """The contents of a table's files by path, with the results that are there.

    Raises ArtifactError for corrupt results, SpecError for a user's broken template.
    """
    root = table.root
    collected = collect(table)
    files = {
        paths.product_file(table.name, "md"): _markdown(collected, table, root).encode(),
        paths.product_file(table.name, "tex"): render_tex(collected).encode(),
        paths.product_file(table.name, "csv"): tidy(collected).encode(),
        paths.product_file(table.name, "png"): picture(_strips(table, collected, root)),
    }
    for row in collected.measured.rows:
        files[paths.metrics_file(table.name, row.run)] = _metrics(collected, row).encode()
    return files


def _markdown(collected: Table, table: TableProduct, root: Path) -> str:
    template = table.spec.template
    return render_markdown(collected) if template is None else render_users(collected, root / template, template)


def _metrics(collected: Table, row: Row) -> str:
    """`{"guided.fid": 12.3457}`: what `dvc metrics` shows and compares, so no noise in late digits."""
    values = {
        column.name: float(f"{cell.value:.6g}")
        for column, cell in zip(collected.measured.columns, row.cells, strict=True)
        if column.metric is not None and cell.value is not None
    }
    return json.dumps(values, indent=1) + "\n"


def _strips(table: TableProduct, collected: Table, root: Path) -> list[Strip]:
    """The samples of each row and output, of the first seed that there are any of."""
    return [
        strip
        for row in table.rows
        for group in collected.measured.groups
        if group.output and (strip := _strip(row, group.output, group.heading, root)) is not None
    ]


def _strip(row: PlannedRow, output: str, heading: str, root: Path) -> Strip | None:
    for measurement in row.measured:
        if measurement.output == output:
            artifact = open_done(measurement.infer, root)
            if artifact is not None:
                return _read_strip(artifact, f"{row.label} · {heading}")
    return None


def _read_strip(artifact: Artifact, title: str) -> Strip | None:
    """Samples, or reconstructions after their originals; none of a representation."""
    if PAIRS in artifact.manifest.files:
        return read_strip(artifact.file(PAIRS), f"{title}: originals, then reconstructions")
    return read_strip(artifact.file(SAMPLES), title) if SAMPLES in artifact.manifest.files else None
