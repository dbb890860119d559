"""What a manifest says of git: clean is only what the commit holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mimflow.artifacts.provenance import git_state

pytestmark = pytest.mark.fault("git")


def git(project: Path, *words: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", "-C", project, *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(project: Path, name: str, text: str = "a: 1\n") -> None:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is in git as it is."""
    for name in ("specs/mini/tarflow.yaml", "Snakefile", "mimflow/cli.py"):
        write(tmp_path, name)
    write(tmp_path, ".gitignore", "/results/\n*.private.yaml\n/scratch/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return tmp_path


def test_a_project_as_it_is_in_git_is_clean(project: Path) -> None:
    assert git_state(project) == {"commit": git(project, "rev-parse", "HEAD"), "clean": True}


@pytest.mark.parametrize(
    "name",
    [
        "specs/mini/new.yaml",
        "specs/new/deeper/new.yaml",
        "specs/mini/mine.private.yaml",
        "specs/datasets/photos.lock",
        "specs/mini/tarflow.yaml",
        "mimflow/priors/mine.py",
        "rules/mine.smk",
        "templates/mine.md.j2",
    ],
)
def test_what_decides_results_and_is_not_in_the_commit_is_not_clean(name: str, project: Path) -> None:
    write(project, name, "b: 2\n")
    assert git_state(project)["clean"] is False
    git(project, "add", "--force", "--all", "specs", name)
    assert git_state(project)["clean"] is False, "what is staged is in no commit yet"
    git(project, "commit", "--quiet", "--message", "more")
    assert git_state(project)["clean"] is True


@pytest.mark.parametrize("name", ["results/table1.md", "notes.txt", "specs/.ipynb_checkpoints/tarflow.yaml"])
def test_what_decides_nothing_may_be_there(name: str, project: Path) -> None:
    write(project, name)
    assert git_state(project)["clean"] is True


def test_a_project_that_git_ignores_is_not_clean(project: Path) -> None:
    write(project, "scratch/specs/mini/tarflow.yaml")
    assert git_state(project / "scratch")["clean"] is False


def test_without_git_nothing_is_known(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "clean": None}
