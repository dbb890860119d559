"""A wheel holds all that a project of one's own needs, without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from projects import REPOSITORY

LINKS = ("specs", "rules", "profiles", "Snakefile")


def test_what_is_shipped_is_the_repositorys_own() -> None:
    shipped = REPOSITORY / "mimflow/shipped"
    assert {path.name for path in shipped.iterdir()} == set(LINKS)
    assert all((shipped / name).resolve() == REPOSITORY / name for name in LINKS)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is unpacked in: what `pip install --target` makes of it, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("mimflow", *LINKS):  # a build leaves files where its source is
        own, copy = REPOSITORY / name, folder / "source" / name
        shutil.copytree(own, copy, symlinks=True) if own.is_dir() else shutil.copy(own, copy)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "source" / name)
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source")]
    built = subprocess.run(words, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr.strip().splitlines()[-1:]}")
    (wheel,) = folder.glob("mimflow-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_a_wheel_holds_specs_workflow_profiles_and_templates(installed: Path) -> None:
    shipped = installed / "mimflow/shipped"
    for name in ("specs", "rules", "profiles"):
        own = {path.relative_to(REPOSITORY) for path in (REPOSITORY / name).rglob("*") if path.is_file()}
        assert {path.relative_to(shipped) for path in (shipped / name).rglob("*") if path.is_file()} == own
    assert (shipped / "Snakefile").read_text() == (REPOSITORY / "Snakefile").read_text()
    assert (installed / "mimflow/project/templates/dataset.yaml").is_file()
    assert not any(path.is_symlink() for path in installed.rglob("*"))


@pytest.mark.slow
def test_a_project_is_begun_and_planned_with_the_installed_package_alone(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}

    def mimflow(*words: str, folder: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mimflow", *words],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import mimflow; print(mimflow.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.strip().startswith(str(installed))
    mimflow("init", "mine", folder=tmp_path)
    assert mimflow("validate", folder=tmp_path / "mine").startswith("valid: ")
    assert "9 of 9 would run" in mimflow("plan", "first", folder=tmp_path / "mine")
    assert "done already" not in mimflow("prepare", "digits", folder=tmp_path / "mine")
    assert "digits" in mimflow("ls", folder=tmp_path / "mine")
