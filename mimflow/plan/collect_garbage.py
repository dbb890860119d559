"""Results that no spec reaches any more."""

from __future__ import annotations

import shutil
from pathlib import Path

from mimflow.plan import paths
from mimflow.plan.build import Plan


def collect(plan: Plan, delete: bool) -> str:
    """List, and where asked delete, the folders of the store that are no job's."""
    kept = {job.folder for job in plan.jobs.values()}
    store = plan.workspace.root / paths.STORE
    folders = sorted(
        folder for stage in paths.FOLDERS.values() for folder in (store / stage).glob("*") if folder.is_dir()
    )
    lost = [folder for folder in folders if folder.relative_to(plan.workspace.root).as_posix() not in kept]
    size = sum(_size(folder) for folder in lost)
    if delete:
        for folder in lost:
            shutil.rmtree(folder)
    lines = [folder.relative_to(plan.workspace.root).as_posix() for folder in lost]
    what = "deleted" if delete else "no spec reaches them; --delete deletes them"
    return "\n".join([*lines, f"{len(lost)} folders, {size / 1e6:.1f} MB: {what}" if lost else "nothing to collect"])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
