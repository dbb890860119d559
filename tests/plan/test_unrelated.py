"""A spec that is wrong, half-written or of somebody else stops what depends on it, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import REPOSITORY
from specs_project import write
from tables_project import make_project, plan_of, put_samples, render
from typer.testing import CliRunner

from mimflow.cli import app
from mimflow.errors import SpecError
from mimflow.plan import paths
from mimflow.plan.collect_garbage import collect
from mimflow.plan.handover import hand_over, handed_over
from mimflow.products.registry import open_plan, open_workspace
from mimflow.workflow import open_workflow

pytestmark = [pytest.mark.slow, pytest.mark.fault("unrelated specs")]

HALF = "dataset: digits\nprior: {kind: tarf"
WRONG = "specs/mini/new.yaml:3:1: not YAML: "


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "mini/.ipynb_checkpoints/tarflow-checkpoint",
        "mini/.#tarflow",
        "mini/._tarflow",
        ".git/x",
        "tables/.t.yaml.swp",
        "notes/half",
    ],
)
def test_hidden_files_and_those_of_other_folders_are_no_specs(project: Path, name: str) -> None:
    write(project, name, HALF)
    assert open_workspace(project).problems == []


def test_an_editors_lock_that_leads_nowhere_is_no_spec(project: Path) -> None:
    (project / "specs/mini/.#tarflow.yaml").symlink_to("user@host.1234:1700000000")
    assert open_workspace(project).problems == []


def test_a_half_written_run_stops_no_table_that_does_not_name_it(project: Path) -> None:
    before = plan_of(project)
    write(project, "mini/new", HALF)
    plan = plan_of(project)
    assert {job.id for job in plan.jobs.values()} == {job.id for job in before.jobs.values()}
    assert "| TARFlow " in render(project)
    with pytest.raises(SpecError, match=WRONG):
        plan.job("new.main.s0")
    with pytest.raises(SpecError, match=WRONG):
        collect(plan, really=True)


def test_a_table_with_a_wrong_run_is_told_and_the_others_are_made(project: Path) -> None:
    write(project, "mini/new", HALF)
    table = (project / "specs/tables/t.yaml").read_text()
    write(project, "tables/other", table.replace("rows: [", "rows: [{run: new}, "))
    write(project, "tables/half", "title: [")
    plan = plan_of(project)
    assert list(plan.products) == ["t"]
    for name, wrong in (("other", WRONG), ("half", "specs/tables/half.yaml:2:1: not YAML")):
        with pytest.raises(SpecError, match=wrong):
            plan.product(f"results/{name}.md")
    with pytest.raises(SpecError, match=r"half\.yaml"):
        plan.by_default()


def test_snakemake_is_told_what_is_wrong_and_goes_on(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, "tables/half", "title: [")
    workflow = open_workflow(project, main_process=True)
    assert "specs/tables/half.yaml:2:1: not YAML" in capsys.readouterr().err
    tables = workflow.plan.workspace.products[0]
    assert workflow.names_of(tables) == "half|t"
    assert all(path.startswith("results/store/") for path in workflow.product_inputs("t"))
    assert workflow.product_inputs("half") == ["`mimflow validate half`: its specs are wrong"]
    assert workflow.default_targets() == ["`mimflow validate`: specs of what is made by default are wrong"]


def test_where_every_table_is_wrong_nothing_starts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, "mini/tarflow", HALF)
    with pytest.raises(SystemExit) as ended:
        open_workflow(project, main_process=True)
    assert ended.value.code == 2 and "specs/mini/tarflow.yaml:3:1: not YAML" in capsys.readouterr().err


def test_links_of_a_run_that_is_wrong_just_now_stay(project: Path) -> None:
    open_workflow(project, main_process=True)
    link = project / "results/by-name/checkpoints/tarflow.main.s0"
    assert link.is_symlink()
    write(project, "mini/tarflow", HALF)
    table = (project / "specs/tables/t.yaml").read_text()
    write(project, "tables/t", table.replace(", {run: tarflow}", "").replace("  - guided.fid\n", ""))
    open_workflow(project, main_process=True)
    assert link.is_symlink()


# -- what is handed over -------------------------------------------------------------------------------------------


def test_a_job_that_snakemake_asked_for_is_handed_over_when_it_begins(project: Path) -> None:
    plan = plan_of(project)
    job = plan.job("tarflow.s0.guided")
    (project / job.manifest).unlink()
    workflow = open_workflow(project, main_process=True)
    inputs = workflow.job_inputs(job.id)
    assert handed_over(project, job.id) is None, "a dry run writes nothing"
    assert workflow.job_inputs(plan.job("digits").id) == []
    assert workflow.hand_over_jobs() == 1
    for path in (project / "specs").rglob("*.yaml"):
        path.write_text("{")
    handed = handed_over(project, job.id)
    assert handed is not None and (handed.job.key, handed.job.task, handed.job.name) == (job.key, job.task, job.name)
    assert [each.manifest for each in handed.job.inputs.values()] == inputs
    assert handed.names == {("infer", "tarflow.s0.guided"): handed.job}
    put_samples(project, handed.job)
    assert not (project / ".mimflow/tasks" / f"{plan.job('digits').id}.json").exists(), "it is done"


def test_a_planned_job_is_done_whatever_lies_below_specs(project: Path) -> None:
    plan = plan_of(project)
    job = plan.job("digits")
    shutil.rmtree(project / job.folder)
    hand_over(plan, job)
    for path in (project / "specs").rglob("*.yaml"):
        path.write_text("{")
    words = ["prepare", job.id, "--project", str(project)]
    assert isinstance(CliRunner().invoke(app, words).exception, SpecError)
    assert not (project / job.manifest).exists()
    done = CliRunner().invoke(app, [*words, "--planned"])
    assert done.exception is None and job.result(project) is not None
    assert (project / "results/by-name/data/digits").is_symlink()


def test_a_process_of_the_workflow_knows_its_job_whatever_specs_say_now(project: Path) -> None:
    job = plan_of(project).job("tarflow.tune.s1")
    (project / job.manifest).unlink()
    opened = open_workflow(project, main_process=True)
    opened.job_inputs(job.id)
    opened.hand_over_jobs()
    (project / "specs/mini/tarflow.yaml").write_text("{")
    workflow = open_workflow(project, main_process=False)
    assert workflow.name(job.id) == "tarflow.tune.s1"
    assert workflow.job_inputs(job.id) == [upstream.manifest for upstream in job.inputs.values()]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"names": [], "job": 3}', "[" * 100_000, '{"job": {"stage": "x"}}'])
def test_what_is_no_task_is_as_good_as_none(project: Path, text: str) -> None:
    job = plan_of(project).job("tarflow.s0.guided")
    path = paths.task(project, job.id)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert handed_over(project, job.id) is None


def test_a_task_under_another_key_is_as_good_as_none(project: Path) -> None:
    plan = plan_of(project)
    job = plan.job("tarflow.s0.guided")
    hand_over(plan, job)
    path = paths.task(project, job.id)
    data = json.loads(path.read_text())
    data["job"]["task"]["seed"] = 7
    path.write_text(json.dumps(data))
    assert handed_over(project, job.id) is None


def test_every_shipped_job_is_the_same_after_it_was_handed_over(tmp_path: Path) -> None:
    plan = open_plan(REPOSITORY)
    plan.root = tmp_path
    for job in plan.jobs.values():
        hand_over(plan, job)
        handed = handed_over(tmp_path, job.id)
        assert handed is not None and handed.job.key == job.key and handed.job.task == job.task
