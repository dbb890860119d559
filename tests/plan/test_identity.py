"""One key, one result: what a job is called, and by whom, changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import cli, copy_project, edit, jobs_of, new_project, result_of, snakemake

from mimflow.products.registry import open_plan


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "project")


def add(project: Path, name: str, text: str) -> None:
    path = project / "specs" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


WEIGHTS = "run: tarflow\ngrid: {outputs.guided.guidance.weight: [1.0, 2.0, 3.0]}\n"


def test_a_sweep_over_an_output_trains_nothing_more(project: Path) -> None:
    before = [job.id for job in open_plan(project).jobs.values() if job.stage == "train"]
    add(project, "ablations/weights", WEIGHTS)
    plan = open_plan(project)
    assert [job.id for job in plan.jobs.values() if job.stage == "train"] == before
    assert plan.names["train", "weights-weight-3-0.main.s0"] is plan.job("tarflow.main.s0")


def test_two_names_of_one_output_are_one_job(project: Path) -> None:
    add(project, "ablations/weights", WEIGHTS)
    edit(project, "tables/table1", "rows: [", "rows: [{ablation: weights}, ")
    plan = open_plan(project)
    weights = [plan.names["infer", f"weights-weight-{weight}-0.s0.guided"].id for weight in (1, 2, 3)]
    assert len(set(weights)) == 3
    assert weights[0] == plan.job("tarflow.s0.guided").id, "the run's own weight is 1"


@pytest.mark.slow
def test_renaming_a_run_moves_and_runs_nothing_but_the_table(finished: Path, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    folder = result_of(project, "checkpoints", "tarflow.main.s0")
    (project / "specs/mini/tarflow.yaml").rename(project / "specs/mini/flow.yaml")
    edit(project, "tables/table1", "run: tarflow", "run: flow")
    assert jobs_of(snakemake(project)) == {"render"}
    assert result_of(project, "checkpoints", "flow.main.s0") == folder and folder.is_dir()
    assert not (project / "results/by-name/checkpoints/tarflow.main.s0").is_symlink()
    assert (project / "results/metrics/table1/flow.json").is_file()
    assert not (project / "results/metrics/table1/tarflow.json").exists()


@pytest.mark.slow
def test_an_unrelated_spec_changes_nothing(finished: Path, tmp_path: Path) -> None:
    project = copy_project(finished, tmp_path / "project")
    # Read before the run that it copies, it is the first to name the job.
    add(project, "mini/a-copy", "extends: tarflow.yaml\nlabel: a copy\n")
    assert open_plan(project).job("tarflow.main.s0").name == "a-copy.main.s0"
    assert "Nothing to be done" in cli(project, "plan", "table1")
