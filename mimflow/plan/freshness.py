"""Freshness of the few files at fixed paths, by content and not by clock.

Keyed folders need none of this: a changed spec is a missing path. A rendered table has a record beside it that says
what it was made from and what it looked like; a marker file, an input of the render rule, carries the answer to
Snakemake: of time 0 while the table is what its specs ask for, new when it is not.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from mimflow.artifacts.manifest import canonical, read_manifest, sha256_of, write_text
from mimflow.errors import ArtifactError
from mimflow.plan import paths
from mimflow.plan.build import Plan, PlannedTable
from mimflow.project.deviations import deviation_lines
from mimflow.spec.differences import differences, show

RENDER_VERSION = 1
TEMPLATES = Path(__file__).resolve().parent.parent / "products" / "table" / "templates"


def templates(table: PlannedTable, root: Path) -> list[Path]:
    """The template files that a table is rendered with."""
    users = [] if table.spec.template is None else [root / table.spec.template]
    # A user's template replaces the Markdown one, and may include it.
    return [*sorted(TEMPLATES.glob("*.j2")), *users]


def table_identity(plan: Plan, table: PlannedTable) -> dict[str, Any]:
    """What a rendered table depends on: its spec, labels, published numbers, templates and the keys of its jobs."""
    workspace = plan.workspace
    return {
        "version": RENDER_VERSION,
        "spec": table.spec.identity(),
        "labels": [table.protocol.label, table.dataset_label, *(row.label for row in table.rows)],
        "deviations": [list(deviation_lines(workspace, row.spec)) for row in table.rows],
        "published": {rows.file: workspace.published[rows.file].spec.identity() for rows in table.spec.published},
        "templates": {path.name: sha256_of(path) for path in templates(table, workspace.root)},
        "jobs": {job.name: job.key for job in table.jobs()},
    }


def number_digests(plan: Plan, table: PlannedTable) -> dict[str, str]:
    """The digests of the numbers that a table shows, by job, as far as they are in the store."""
    root = plan.workspace.root
    jobs = [measurement.evaluate for row in table.rows for measurement in row.measured]
    return {job.name: read_manifest(root / job.manifest).files["metrics.json"].sha256 for job in jobs if job.done(root)}


def table_key(identity: dict[str, Any]) -> str:
    """The key of a rendered table."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def table_reason(plan: Plan, table: PlannedTable) -> str:
    """Why a table has to be rendered; empty if it is what its specs ask for."""
    root = plan.workspace.root
    if not (root / paths.table_record(table.name)).is_file():
        return "never rendered"
    try:
        record = read_manifest(root / paths.table_record(table.name))
    except ArtifactError:
        return "its record is broken"
    identity = table_identity(plan, table)
    if record.key != table_key(identity):
        changes = [f"{field}: {show(old)} → {show(new)}" for field, old, new in differences(record.task, identity)]
        return "; ".join(_without_keys(change) for change in changes) or "its record is another version's"
    for name, file in record.files.items():
        path = root / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path) != file.sha256:
            return f"{name} was changed by hand"
    now = number_digests(plan, table)
    changed = [name for name, digest in now.items() if record.inputs.get(name, digest) != digest]
    if changed:
        return f"other numbers: {', '.join(changed)}"
    evaluations = dict.fromkeys(measurement.evaluate.name for row in table.rows for measurement in row.measured)
    missing = [name for name in evaluations if name not in record.inputs]
    return f"rendered without {', '.join(missing)}" if missing else ""


def _without_keys(change: str) -> str:
    """A change as it is shown: of a digest, only which one."""
    field, _, values = change.partition(": ")
    kind, _, name = field.partition(".")
    return f"{name} changed" if kind in ("jobs", "templates") else f"{field}: {values}"


def update_markers(plan: Plan) -> None:
    """Bring every table's marker up to date. Only the main process of Snakemake calls this."""
    for table in plan.tables.values():
        marker = plan.workspace.root / paths.marker(table.name)
        reason = table_reason(plan, table)
        missing = not (plan.workspace.root / paths.table_record(table.name)).is_file()
        text = reason + "\n"
        if not marker.is_file() or marker.read_text(encoding="utf-8") != text:
            write_text(marker, text)
        if missing or not reason:
            os.utime(marker, (0, 0))
        else:
            os.utime(marker)
