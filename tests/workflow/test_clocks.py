"""No clock decides what Snakemake renders: files of the future and of no time are those of any other."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from projects import REPOSITORY, command
from tables_project import edit, make_project

pytestmark = [pytest.mark.slow, pytest.mark.fault("clocks")]

AHEAD = 3600.0
"""Seconds by which another machine's clock is ahead."""


CASES = ("ahead", "zero", "before", "manifests", "times", "unrecorded")
"""A table each: Snakemake takes longer to start than to render them."""


def rendered(project: Path) -> set[str]:
    """The tables that Snakemake renders when it is asked for all."""
    text = command(project, "snakemake", "--cores", "1", *(f"results/{name}.md" for name in CASES)).stdout
    found = set(re.findall(r"^Job \d+: render table (\w+)$", text, re.MULTILINE))
    assert bool(found) != ("Nothing to be done" in text), text
    return found


def set_times(project: Path, what: str, moment: float) -> None:
    files = list(project.glob(what))
    assert files
    for path in files:
        os.utime(path, (moment, moment))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of hand-made results, its tables rendered by Snakemake."""
    project = tmp_path_factory.mktemp("clocks") / "project"
    make_project(project)
    table = project / "specs/tables/t.yaml"
    for name in CASES:
        shutil.copy(table, table.with_stem(name))
    table.unlink()
    shutil.copy(REPOSITORY / "Snakefile", project)
    for folder in ("rules", "profiles"):
        shutil.copytree(REPOSITORY / folder, project / folder)
    assert rendered(project) == set(CASES)
    return project


@pytest.fixture(scope="module")
def first(project: Path) -> set[str]:
    """What was rendered after edits and other times, all at once; each of the tables is one case.

    Times are what another clock or a `touch` leaves."""
    for name in ("ahead", "zero", "before"):
        edit(project, f"tables/{name}", "Digits & 100 %", "Digits & 50 %")
    set_times(project, "results/ahead.*", time.time() + AHEAD)
    set_times(project, "results/zero.*", 0.0)
    set_times(project, ".mimflow/markers/before", -AHEAD)
    set_times(project, "results/times.*", time.time() + AHEAD)
    set_times(project, ".mimflow/markers/times", time.time() + 2 * AHEAD)
    (project / "results/unrecorded.manifest.json").unlink()
    return rendered(project)


@pytest.fixture(scope="module")
def second(project: Path, first: set[str]) -> set[str]:
    """What was rendered when asked again, after one more edit, all results being of the future now."""
    edit(project, "tables/manifests", "Digits & 100 %", "Digits & 50 %")
    set_times(project, "results/store/*/*/manifest.json", time.time() + AHEAD)
    return rendered(project)


@pytest.mark.parametrize("case", ["ahead", "zero", "before", "manifests"])
def test_an_edit_is_rendered_whatever_the_times_of_files(
    case: str, project: Path, first: set[str], second: set[str]
) -> None:
    """What is stale is made, and made once."""
    assert (case in first, case in second) == ((False, True) if case == "manifests" else (True, False))
    assert "Digits & 50 %" in (project / f"results/{case}.md").read_text(encoding="utf-8")


def test_times_alone_render_nothing(first: set[str], second: set[str]) -> None:
    assert "times" not in first | second


def test_a_product_without_its_record_is_rendered(first: set[str], second: set[str]) -> None:
    assert "unrecorded" in first and "unrecorded" not in second


def test_what_was_rendered_is_not_again(project: Path, second: set[str]) -> None:
    assert second == {"manifests"} and rendered(project) == set()
