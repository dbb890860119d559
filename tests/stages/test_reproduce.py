"""A product's numbers are made again from its record and compared one by one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import command, copy_project, edit, result_of
from tables_project import edit as edit_spec
from tables_project import make_project, plan_of, put_metrics, render

from mimflow.errors import PlanError
from mimflow.plan.jobs import Job
from mimflow.stages import reproduce as stage
from mimflow.stages.reproduce import reproduce
from mimflow.tasks import PrepareTask


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a rendered table of hand-made results; to run a job is to copy its result."""
    root = tmp_path / "project"
    make_project(root)
    render(root)

    def run(job: Job, folder: Path) -> None:
        if not job.done(folder):
            shutil.copytree(root / job.folder, folder / job.folder)

    monkeypatch.setattr(stage, "_run", run)
    return root


def test_what_is_made_again_alike_is_equal_though_specs_were_edited(project: Path) -> None:
    edit_spec(project, "mini/tarflow", "width: 16", "width: 24")
    found = reproduce(plan_of(project), "results/t.md")
    assert (len(found.numbers), found.different) == (21, 0) and not found.machine
    lines = [" ".join(line.split()) for line in found.text.splitlines()]
    assert "tarflow.s0.guided.small fid 10.1234568 10.1234568 0 equal" in lines
    assert lines[-1] == "21 of 21 numbers agree (equal to the last bit is asked for)"
    assert "recorded at commit 0123456789ab (clean)" in lines and "the same processor and packages made both" in lines


def test_a_row_is_named_by_its_run_and_another_number_is_different(project: Path, tmp_path: Path) -> None:
    plan = plan_of(project)
    keep = tmp_path / "again"
    reproduce(plan, "t", ["Gaussian & 100 % _simple_ #1"], keep=keep)
    job = plan.job("gaussian.s0.unguided.small")
    put_metrics(keep, job, {"fid": 40.26000001, "is": 2.5, "class_accuracy": "the samples were drawn without a class"})
    found = reproduce(plan, "t", ["gaussian"], keep=keep)
    assert {number.name: number.verdict(found.tolerance) for number in found.numbers} == {
        "gaussian.s0.unguided.small fid": "different",
        "gaussian.s0.unguided.small is": "equal",
        "gaussian.s0.unguided.small class_accuracy": "equal",
    }
    assert reproduce(plan, "t", ["gaussian"], tolerance=1e-6, keep=keep).different == 0
    with pytest.raises(PlanError, match=r"'t' has no row 'gausian' \(did you mean 'gaussian'\?\)"):
        reproduce(plan, "t", ["gausian"])


def test_what_can_not_be_compared_is_a_line(project: Path, tmp_path: Path) -> None:
    plan = plan_of(project)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    with pytest.raises(PlanError, match="holds other things"):
        reproduce(plan, "t", keep=tmp_path / "full")
    put_metrics(project, plan.job("gaussian.s0.unguided.small"), {"fid": 1.0, "is": 2.5, "class_accuracy": 0.5})
    with pytest.raises(PlanError, match=r"gaussian\.s0\.unguided\.small: the store has other numbers than t shows"):
        reproduce(plan, "t")
    shutil.rmtree(project / plan.job("gaussian.s0.unguided.small").folder)
    with pytest.raises(PlanError, match=r"not in the store \(`dvc pull results/store/evaluations`\)"):
        reproduce(plan, "t")
    (project / "results/t.md").write_text("my own")
    with pytest.raises(PlanError, match=r"results/t.md: not as it was rendered"):
        reproduce(plan, "t")
    (project / "results/t.manifest.json").unlink()
    with pytest.raises(PlanError, match="'t' was never rendered here"):
        reproduce(plan, "t")


@pytest.mark.slow
def test_a_table_of_a_real_project_is_made_again_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    project, again = copy_project(finished, tmp_path / "project"), tmp_path / "again"
    samples = result_of(project, "outputs", "gaussian.s0.unguided")
    measured = result_of(project, "evaluations", "gaussian.s0.unguided.digits-200")
    # What the two were made from is taken over, so that the test takes seconds: another call goes on.
    shutil.copytree(project / "results/store", again / "results/store", symlinks=True)
    for folder in (samples, measured):
        shutil.rmtree(again / folder.relative_to(project))
    edit(project, "mini/gaussian", "ridge: 1e-2", "ridge: 2e-2")
    edit(project, "protocols/digits-200", "count: 200", "count: 100")
    words = ("mimflow", "reproduce", "results/table1.md", "--row", "Gaussian per class", "--keep", str(again))
    text = command(project, *words).stdout
    assert "5 of 5 numbers agree (equal to the last bit is asked for)" in text, text
    made = (again / measured.relative_to(project) / "metrics.json").read_bytes()
    assert made == (measured / "metrics.json").read_bytes()
    recorded = json.loads((measured / "manifest.json").read_text())
    assert recorded["key"] == json.loads((again / measured.relative_to(project) / "manifest.json").read_text())["key"]


def test_a_folder_beside_the_project_is_found_from_the_scratch_folder(tmp_path: Path) -> None:
    source = {"kind": "image_folder", "path": "../pictures"}
    dataset = {
        "source": source,
        "transform": {"size": 8, "method": "bilinear"},
        "split": {"kind": "folders"},
        "channels": 3,
        "num_classes": 2,
    }
    pin = {"images": 1, "bytes": 1, "listing": "0" * 64}
    job = Job(PrepareTask.model_validate({"dataset": dataset, "files": pin}), {}, "pictures")
    moved = stage._found(job, tmp_path / "project")
    assert isinstance(moved.task, PrepareTask)
    assert moved.task.dataset.source.model_dump(mode="json")["path"] == str(tmp_path / "pictures")
    assert moved.key == job.key
