"""No clock decides what Snakemake renders: files of the future and of no time are those of any other."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from projects import REPOSITORY, command, copy_project
from tables_project import edit, make_project

pytestmark = [pytest.mark.slow, pytest.mark.fault("clocks")]

AHEAD = 3600.0
"""Seconds by which another machine's clock is ahead."""


def snakemake(project: Path) -> str:
    return command(project, "snakemake", "--cores", "1", "results/t.md").stdout


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of hand-made results, its table rendered by Snakemake. Tests copy it; none changes it."""
    project = tmp_path_factory.mktemp("clocks") / "project"
    make_project(project)
    shutil.copy(REPOSITORY / "Snakefile", project)
    for folder in ("rules", "profiles"):
        shutil.copytree(REPOSITORY / folder, project / folder)
    assert "1 of 1 steps (100%) done" in snakemake(project)
    return project


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    return copy_project(rendered, tmp_path / "project")


def set_times(project: Path, what: str, moment: float) -> None:
    files = list(project.glob(what))
    assert files
    for path in files:
        os.utime(path, (moment, moment))


@pytest.mark.parametrize(
    ("what", "moment"),
    [
        ("results/t.*", "ahead"),
        ("results/t.*", "none"),
        ("results/store/*/*/manifest.json", "ahead"),
        (".mimflow/markers/*", "before"),
    ],
)
def test_an_edit_is_rendered_whatever_the_times_of_files(what: str, moment: str, project: Path) -> None:
    """As another clock or a `touch` leaves files: what is stale is made, and made once."""
    edit(project, "tables/t", "Digits & 100 %", "Digits & 50 %")
    set_times(project, what, {"ahead": time.time() + AHEAD, "none": 0.0, "before": -AHEAD}[moment])
    assert "1 of 1 steps (100%) done" in snakemake(project)
    assert "Digits & 50 %" in (project / "results/t.md").read_text(encoding="utf-8")
    assert "Nothing to be done" in snakemake(project)


def test_times_alone_render_nothing(project: Path) -> None:
    set_times(project, "results/**/*", time.time() + AHEAD)
    set_times(project, ".mimflow/markers/*", time.time() + 2 * AHEAD)
    assert "Nothing to be done" in snakemake(project)


def test_a_product_without_its_record_is_rendered(project: Path) -> None:
    (project / "results/t.manifest.json").unlink()
    assert "1 of 1 steps (100%) done" in snakemake(project)
