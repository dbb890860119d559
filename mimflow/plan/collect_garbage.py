"""Results that no spec reaches any more, and work that nobody goes on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mimflow.artifacts.leftovers import remove
from mimflow.artifacts.lock import locked
from mimflow.artifacts.manifest import MANIFEST, read_manifest
from mimflow.errors import ArtifactError, LockedError
from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.links import update_links


def collect(plan: Plan, really: bool) -> str:
    """List, and where asked delete, what lies in the store and is no job's, and the work of attempts that are over.

    Work is over if its job is done, or no spec asks for it; what was handed over to such a job goes, too. What a
    process is at work on is not deleted. SpecError if any spec is wrong.
    """
    plan.workspace.raise_problems()  # what it reaches is not known
    plan.plan_everything()
    root = plan.workspace.root
    lost = [*_results(plan), *_attempts(plan), *_tasks(plan)]
    lines = [f"{path.relative_to(root).as_posix()}  {_name(path)}".rstrip() for path in lost]
    size = sum(map(size_of, lost))
    kept = [line for path, line in zip(lost, lines, strict=True) if not delete(root, path)] if really else []
    if really:
        update_links(plan)
    what = "deleted" if really else "nothing needs them; --delete deletes them"
    if kept:
        what = f"deleted but {len(kept)} that a process is at work on: {', '.join(kept)}"
    return "\n".join(
        [*lines, f"{len(lost)} folders and files, {size / 1e6:.1f} MB: {what}" if lost else "nothing to collect"]
    )


def _results(plan: Plan) -> Iterator[Path]:
    """The folders of the store that are no job's, those included that a killed process had copied in part."""
    root = plan.workspace.root
    kept = {job.folder for job in plan.jobs.values()}
    folders = [folder for stage in paths.FOLDERS.values() for folder in (root / paths.STORE / stage).glob("*")]
    for folder in sorted(folders):
        if (folder.is_dir() or folder.is_symlink()) and folder.relative_to(root).as_posix() not in kept:
            yield folder


def _attempts(plan: Plan) -> Iterator[Path]:
    """The work folders of jobs that are done or that no spec asks for."""
    root = plan.workspace.root
    for folder in sorted(paths.work(root, "").glob("*")):
        job = plan.jobs.get(folder.name)
        if folder.is_dir() and (job is None or job.done(root)):
            yield folder


def _tasks(plan: Plan) -> Iterator[Path]:
    """What was handed over to jobs that no spec asks for."""
    root = plan.workspace.root
    return (path for path in sorted(paths.task(root, "*").parent.glob("*.json")) if path.stem not in plan.jobs)


def delete(root: Path, path: Path) -> bool:
    """Delete what is lost, unless a process is at work on its job."""
    # A folder that is copied into the store is `.KEY.partial` until it is whole.
    lock = paths.work_lock(root, path.name.removeprefix(".").removesuffix(".partial").partition(".")[0])
    try:
        with locked(lock, path.name):
            remove(path)
            lock.unlink(missing_ok=True)
    except LockedError:
        return False
    return True


def _name(folder: Path) -> str:
    """What the job of a folder was called when it ran; empty where no manifest says so."""
    try:
        return read_manifest(folder / MANIFEST).name
    except ArtifactError:
        return ""


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
