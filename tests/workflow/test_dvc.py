"""DVC over the one DAG: repro, metrics, cache, and clones with and without a pull."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from projects import cli, edit, result_of, snakemake
from versioned import run

pytestmark = pytest.mark.slow


def clone(tracked: Path, folder: Path) -> Path:
    run(tracked, "git", "clone", "-q", str(tracked), str(folder))
    return folder


def scramble_times(project: Path) -> None:
    for index, path in enumerate(sorted(project.rglob("*"))):
        if ".git" not in path.parts and ".dvc" not in path.parts:
            time = 1_000_000_000 + index * 7919 % 10_007
            os.utime(path, (time, time), follow_symlinks=False)


def test_repro_from_nothing_makes_the_table_and_a_second_does_nothing(tracked: Path) -> None:
    first, second = (tracked.with_name(name).read_text(encoding="utf-8") for name in ("first", "second"))
    assert "Running stage 'products'" in first and (tracked / "results/table1.md").is_file()
    assert "didn't change, skipping" in second and "Running stage" not in second
    cached = list((tracked / ".dvc/cache/files").rglob("*.dir"))
    assert len(cached) == 6, "data, features, checkpoints, outputs, references and evaluations, each for itself"
    assert "results/store/" not in re.sub(r"results/store/\.gitignore", "", run(tracked, "git", "ls-files"))


def test_metrics_are_a_readable_line_per_run(tracked: Path) -> None:
    shown = run(tracked, "dvc", "metrics", "show")
    lines = {line.split()[0]: line for line in shown.splitlines()[1:] if line.strip()}
    assert any(name.endswith("metrics/table1/tarflow.json") for name in lines)
    assert "guided.fid" in shown.splitlines()[0] and len(lines) == 2


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_a_clone_with_a_pull_has_nothing_to_do(tracked: Path, tmp_path: Path, link: str) -> None:
    project = clone(tracked, tmp_path / "clone")
    run(project, "dvc", "config", "-q", "--local", "cache.type", link)
    run(project, "dvc", "pull", "-q")
    scramble_times(project)
    assert "Nothing to be done" in snakemake(project, "-n")
    if link != "copy":
        weights = result_of(project, "checkpoints", "tarflow.main.s0") / "weights.safetensors"
        assert weights.is_symlink() if link == "symlink" else weights.stat().st_nlink > 1
    edit(project, "tables/table1", "title: Digits", "title: Numerals")
    cli(project, "render", "table1")
    assert "# Numerals" in (project / "results/table1.md").read_text(encoding="utf-8")
    run(project, "git", "checkout", "-q", "specs")
    run(project, "dvc", "checkout", "-q", "--force", check=False)
    assert "is corrupted" not in run(project, "dvc", "status")


def test_a_clone_without_a_pull_says_so_and_computes_nothing(tracked: Path, tmp_path: Path) -> None:
    project = clone(tracked, tmp_path / "clone")
    lock = (project / "dvc.lock").read_text()
    current = snakemake(project)
    assert "`dvc pull` fetches them" in current and "Nothing to be done" in current
    edit(project, "tables/table1", "title: Digits", "title: Numerals")
    stale = snakemake(project, check=False)
    assert "`dvc pull` fetches them; to compute them anew instead" in stale and "Traceback" not in stale
    repro = run(project, "dvc", "repro", check=False)
    assert "`dvc pull` fetches them" in repro and "does not exist" not in repro
    assert (project / "dvc.lock").read_text() == lock
    assert not list((project / "results/store").rglob("manifest.json"))


def test_a_clone_with_the_numbers_alone_renders_its_table_and_again_once_the_rest_is_there(
    tracked: Path, tmp_path: Path
) -> None:
    project = clone(tracked, tmp_path / "clone")
    run(project, "dvc", "pull", "-q", "results/store/evaluations")
    whole = (project / "results/table1.md").read_text(encoding="utf-8")
    edit(project, "tables/table1", "title: Digits", "title: Numerals")
    assert "rendered without train extractor" in cli(project, "render", "table1")
    bare = (project / "results/table1.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")]
        for text in (whole, bare)
        for line in text.splitlines()
        if line.startswith("| TARF")
    ]
    assert rows[1][2:4] == ["—", "—"] and rows[1][4:] == rows[0][4:]
    assert run(project, "git", "status", "--short", "results/plots", "results/metrics") == ""
    run(project, "dvc", "pull", "-q")
    assert "Nothing to be done" not in snakemake(project)
    assert (project / "results/table1.md").read_text(encoding="utf-8") == whole.replace("# Digits", "# Numerals")


def test_a_queued_experiment_runs_in_a_copy_and_shows_the_field_and_the_number_that_it_changed(
    tracked: Path, tmp_path: Path
) -> None:
    project = clone(tracked, tmp_path / "clone")
    run(project, "dvc", "pull", "-q")
    setting = "specs/mini/tarflow.yaml:outputs.guided.guidance.weight=0.5"
    run(project, "dvc", "exp", "run", "--queue", "-n", "half", "-S", setting)
    run(project, "dvc", "exp", "run", "--run-all")
    assert run(project, "git", "status", "--short", "--untracked-files=no") == ""
    shown = run(project, "dvc", "exp", "show", "--csv", "--only-changed", "--hide-workspace", "--drop", "specs")
    head, baseline, half = (line.split(",") for line in shown.splitlines() if line)
    weights = head.index("outputs.guided.guidance.weight")
    assert (baseline[weights], half[weights]) == ("1.0", "0.5") and "guided.fid" in head and len(head) < 12
    run(project, "dvc", "exp", "apply", "half")
    assert run(project, "dvc", "params", "diff").splitlines()[1:] == [
        "specs/mini/tarflow.yaml  outputs.guided.guidance.weight  1.0     0.5"
    ]
    difference = run(project, "dvc", "metrics", "diff", "HEAD")
    changed = [line.split()[:2] for line in difference.splitlines()[1:] if line.strip()]
    assert all("tarflow.json" in path and metric.startswith("guided.") for path, metric in changed) and changed
    plots = json.loads(run(project, "dvc", "plots", "diff", "HEAD", "--json"))["data"]
    assert {name: len(each) for name, each in plots.items()} == {
        "results/table1.png": 2,  # of either revision
        "table1: loss of extractor": 1,
        "table1: loss of tarflow": 1,
    }
    (loss,) = plots["table1: loss of tarflow"]
    assert loss["revisions"] == ["workspace", "HEAD"]
    assert {row["step"] for row in loss["content"]["data"]["values"]} >= {"1", "60"}
