"""A project under git and DVC, as this repository is, whose table DVC has made from nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from projects import REPOSITORY, command, new_project

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A test"), ("EMAIL", "test@example.org"))
}


def run(project: Path, *words: str, check: bool = True) -> str:
    """The output of a program, with somebody as whom git commits."""
    return command(project, *words, check=check, **IDENTITY).stdout


def make_tracked(project: Path) -> None:
    """Make the table of a new project by DVC from nothing; the results are pushed to a remote beside it, and committed.

    What DVC said the first and the second time lies beside it, in `first` and `second`.
    """
    new_project(project)
    run(project, "git", "init", "-q")
    run(project, "dvc", "init", "-q")
    shutil.copy(REPOSITORY / ".dvc/config", project / ".dvc/config")
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "specs")
    run(project, "dvc", "remote", "add", "-q", "-d", "local", str(project.parent / "remote"))
    for name in ("first", "second"):
        project.with_name(name).write_text(run(project, "dvc", "repro"), encoding="utf-8")
    run(project, "dvc", "push", "-q")
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "results")


def without_versions(tracked: Path, project: Path) -> None:
    """The project with all that was computed, as it would be had DVC never been there."""
    shutil.copytree(tracked, project, symlinks=True, ignore=shutil.ignore_patterns(".git", ".dvc", "dvc.lock"))
