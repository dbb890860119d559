"""Renders a table: Markdown, TeX, CSV, a picture of samples, numbers for `dvc metrics`, and the record of it all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from mimflow.artifacts.manifest import FileRecord, Manifest
from mimflow.artifacts.provenance import describe_process
from mimflow.contents.base import Content
from mimflow.errors import StorageError
from mimflow.plan import paths
from mimflow.plan.build import Plan, PlannedRow, PlannedTable
from mimflow.plan.freshness import number_digests, table_identity, table_key
from mimflow.products.table.collect import collect
from mimflow.products.table.layout import tidy
from mimflow.products.table.model import Group, Row, Table
from mimflow.products.table.picture import Strip, picture, read_strip
from mimflow.products.table.results import open_done
from mimflow.products.table.templating import render_markdown, render_tex, render_users


def render_table(plan: Plan, table: PlannedTable, partial: bool = False) -> list[Path]:
    """Render a table and its record; the files, the record last. An interrupted render leaves the old ones.

    `partial` renders with the results that are there. Raises PlanError that names missing ones otherwise,
    ArtifactError for corrupt ones, SpecError for a user's broken template, StorageError if a file can't be written.
    """
    root = plan.workspace.root
    identity, inputs = table_identity(plan, table), number_digests(plan, table)
    collected = collect(plan, table, partial)
    files = {
        paths.table_file(table.name, "md"): _markdown(collected, table, root).encode(),
        paths.table_file(table.name, "tex"): render_tex(collected).encode(),
        paths.table_file(table.name, "csv"): tidy(collected).encode(),
        paths.table_file(table.name, "png"): picture(_strips(table, collected, root)),
    }
    for row in collected.measured.rows:
        files[paths.metrics_file(table.name, row.run)] = _metrics(collected, row).encode()
    record = Manifest(
        stage="render",
        name=table.name,
        key=table_key(identity),
        task=identity,
        inputs=inputs,
        files={name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()},
        facts={"evaluations": len(inputs), "evaluations_asked": sum(len(row.measured) for row in table.rows)},
        made=describe_process(root),
    )
    files[paths.table_record(table.name)] = record.to_json().encode()
    _write(root, table.name, files)
    _remove_others(root, table.name, set(files))
    return [root / name for name in files]


def _markdown(collected: Table, table: PlannedTable, root: Path) -> str:
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


def _strips(table: PlannedTable, collected: Table, root: Path) -> list[Strip]:
    """What there is to see of each row and output, of the first seed that there is any of."""
    return [
        strip
        for row in table.rows
        for group in collected.measured.groups
        if group.output and (strip := _strip(row, table.contents[group.output], group, root)) is not None
    ]


def _strip(row: PlannedRow, content: Content, group: Group, root: Path) -> Strip | None:
    if content.pictured is None:
        return None
    title = f"{row.label} · {group.heading}" + (f": {content.pictured_as}" if content.pictured_as else "")
    for measurement in row.measured:
        if measurement.output == group.output:
            artifact = open_done(measurement.sample, root)
            if artifact is not None:
                return read_strip(artifact.file(content.pictured), title)
    return None


def _write(root: Path, name: str, files: dict[str, bytes]) -> None:
    """Write all files aside, then move them into place in their order: the record last."""
    results = root / paths.table_record(name)
    staging: Path | None = None
    try:
        results.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=results.parent))
        for index, (file, data) in enumerate(files.items()):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / str(index)).write_bytes(data)
        for index, file in enumerate(files):
            (staging / str(index)).replace(root / file)
    except OSError as error:
        raise StorageError(f"{error.filename or results}: can't write: {error.strerror}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _remove_others(root: Path, name: str, files: set[str]) -> None:
    """Remove the metrics files of runs that are no longer in the table."""
    folder = (root / paths.metrics_file(name, "any")).parent
    for path in folder.glob("*.json"):
        if path.relative_to(root).as_posix() not in files:
            path.unlink()
