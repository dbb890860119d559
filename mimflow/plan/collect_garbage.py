"""Results that no spec reaches any more."""

from __future__ import annotations

import shutil
from pathlib import Path

from mimflow.artifacts.manifest import MANIFEST, read_manifest
from mimflow.errors import ArtifactError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.links import update_links


def collect(plan: Plan, delete: bool) -> str:
    """List, and where asked delete, the folders of the store that are no job's. SpecError if any spec is wrong."""
    plan.workspace.raise_problems()  # what it reaches is not known
    root = plan.workspace.root
    kept = {job.folder for job in plan.jobs.values()}
    folders = [folder for stage in paths.FOLDERS.values() for folder in (root / paths.STORE / stage).glob("*")]
    lost = [folder for folder in sorted(folders) if folder.is_dir() and folder.relative_to(root).as_posix() not in kept]
    lines = [f"{folder.relative_to(root).as_posix()}  {_name(folder)}".rstrip() for folder in lost]
    size = sum(_size(folder) for folder in lost)
    if delete:
        for folder in lost:
            shutil.rmtree(folder)
        update_links(plan)
    what = "deleted" if delete else "no spec reaches them; --delete deletes them"
    return "\n".join([*lines, f"{len(lost)} folders, {size / 1e6:.1f} MB: {what}" if lost else "nothing to collect"])


def _name(folder: Path) -> str:
    """What the job of a folder was called when it ran; empty where its manifest does not say."""
    try:
        return read_manifest(folder / MANIFEST).name
    except ArtifactError:
        return ""


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
