"""Results under their names, for people: `results/by-name/checkpoints/tarflow.main.s0` leads to a folder of the store.

Nothing else follows these links. A job with several names has several; a file system without links has none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mimflow.plan import paths
from mimflow.plan.build import Plan
from mimflow.plan.handover import HandedOver
from mimflow.plan.jobs import Job


def update_links(plan: Plan) -> None:
    """Make the links of all jobs that are done, and remove those that lead nowhere or that no spec names any more."""
    root = plan.root.resolve()
    # A spec that is wrong just now may name what is there.
    all_known = not plan.workspace.problems
    wanted = {paths.link(stage, name): job.folder for (stage, name), job in plan.names.items()}
    for folder in paths.FOLDERS.values():
        for link in (root / paths.BY_NAME / folder).glob("*"):
            # What a run's page asks for is planned when somebody asks for the page.
            of_run = link.name.partition(".")[0] in plan.workspace.runs
            named = link.relative_to(root).as_posix() in wanted or of_run or not all_known
            if link.is_symlink() and not (named and link.exists()):
                with suppress(OSError):
                    link.unlink()
    done = {f"{paths.STORE}/{folder}/{found}" for folder in paths.FOLDERS.values() for found in _listed(root, folder)}
    for link_name, target in wanted.items():
        if target in done:
            _link(root / link_name, root / target)


def link_names(plan: Plan | HandedOver, job: Job) -> None:
    """Make the links of one job that is done, under all its names."""
    root = plan.root.resolve()
    for (stage, name), named in plan.names.items():
        if named.id == job.id:
            _link(root / paths.link(stage, name), root / job.folder)


def _listed(root: Path, folder: str) -> list[str]:
    try:
        return [path.name for path in (root / paths.STORE / folder).iterdir()]
    except OSError:
        return []


def _link(link: Path, folder: Path) -> None:
    # As it is seen from where the link really lies: the folder of links may itself be one.
    target = os.path.relpath(folder, link.parent.resolve())
    with suppress(OSError):
        if link.is_symlink():
            if str(link.readlink()) == target:
                return
            link.unlink()
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target, target_is_directory=True)
