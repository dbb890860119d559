"""The files of a table: Markdown, TeX, CSV, HTML, JSON, a picture of samples, and numbers for `dvc metrics`."""

from __future__ import annotations

import json
from pathlib import Path

from mimflow.artifacts.manifest import Artifact
from mimflow.plan import paths
from mimflow.products.table.collect import collect
from mimflow.products.table.data import json_text
from mimflow.products.table.layout import tidy
from mimflow.products.table.model import Group, Row, Table
from mimflow.products.table.picture import STRIPS, picture, read_strip
from mimflow.products.table.product import PlannedRow, TableProduct
from mimflow.products.table.templating import TEXTS, kind_of, render_own, render_users


def render_table(table: TableProduct) -> dict[str, bytes]:
    """The contents of a table's files by path, with the results that are there.

    Raises ArtifactError for corrupt results, SpecError for a user's broken template.
    """
    collected = collect(table)
    files = {
        **{paths.product_file(table.name, kind): _text(collected, table, kind).encode() for kind in TEXTS},
        paths.product_file(table.name, "csv"): tidy(collected).encode(),
        paths.product_file(table.name, "json"): json_text(collected).encode(),
        paths.product_file(table.name, "png"): sample_picture(table, collected),
    }
    for row in collected.measured.rows:
        files[paths.metrics_file(table.name, row.run)] = _metrics(collected, row).encode()
    return files


def _text(collected: Table, table: TableProduct, kind: str) -> str:
    template = table.spec.template
    if template is None or kind_of(template) != kind:
        return render_own(collected, kind)
    return render_users(collected, table.root / template, template)


def _metrics(collected: Table, row: Row) -> str:
    """`{"guided.fid": 12.3457}`: what `dvc metrics` shows and compares, so no noise in late digits."""
    values = {
        column.name: float(f"{cell.value:.6g}")
        for column, cell in zip(collected.measured.columns, row.cells, strict=True)
        if column.metric is not None and cell.value is not None
    }
    return json.dumps(values, indent=1) + "\n"


def sample_picture(table: TableProduct, collected: Table) -> bytes:
    """What there is to see of each row and output, of the first seed that there is any of."""
    found = pictured(table, collected)
    strips = [read_strip(artifact.file(name), title) for artifact, name, title in found[:STRIPS]]
    return picture(strips, len(found) - len(strips))


def pictured(table: TableProduct, collected: Table) -> list[tuple[Artifact, str, str]]:
    """The outputs that a table's picture shows, the file in each, and the titles of their strips."""
    measured = collected.measured
    images = [
        image
        for row, cells in zip(table.rows, measured.rows, strict=True)
        for group in measured.groups
        if group.output and (image := _images(table, row, group, measured.output_of(cells, group))) is not None
    ]
    found: dict[Path, tuple[Artifact, str, str]] = {}
    for artifact, name, title in images:  # what several protocols measure is shown once
        found.setdefault(artifact.folder, (artifact, name, title))
    return list(found.values())


def _images(table: TableProduct, row: PlannedRow, group: Group, output: str) -> tuple[Artifact, str, str] | None:
    """The output and the file in it that a strip shows, and its title; None where there is nothing to see."""
    content = table.contents[group.output]
    if content.pictured is None:
        return None
    title = f"{table.row_name(row)} · {group.heading}" + (f": {content.pictured_as}" if content.pictured_as else "")
    for measurement in row.measured:
        if (measurement.output, measurement.protocol) == (output, group.protocol) and measurement.infer:
            artifact = measurement.infer.result(table.root)
            if artifact is not None:
                return artifact, content.pictured, title
    return None
