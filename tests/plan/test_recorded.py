"""Jobs are rebuilt from what their results recorded, whatever specs say by now. A key is the check."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from artifacts import data_facts
from photographs import write_photographs
from specs_project import write
from tables_project import edit, make_project, plan_of, put

from mimflow.errors import PlanError
from mimflow.plan.recorded import RecordedJobs
from mimflow.project.pins import lock
from mimflow.tasks import PrepareTask, TrainTask

PHOTOGRAPHS = """\
source: {kind: image_folder, path: data/photographs}
transform: {size: 8, method: bilinear}
split: {kind: folders}
channels: 3
num_classes: 3
"""


def test_jobs_of_edited_specs_are_rebuilt_from_their_manifests(tmp_path: Path) -> None:
    make_project(tmp_path)
    before = {name: job for (stage, name), job in plan_of(tmp_path).names.items() if stage == "evaluate"}
    edit(tmp_path, "mini/tarflow", "width: 16", "width: 24")
    edit(tmp_path, "mini/classifier", "batch_size: 8", "batch_size: 4")
    edit(tmp_path, "mini/gaussian", "ema: false", "ema: true")
    plan = plan_of(tmp_path)
    assert not {job.id for job in before.values()} & plan.jobs.keys()
    known = RecordedJobs(plan)
    for job in before.values():
        rebuilt = known.job(job.key)
        assert rebuilt.key == job.key and rebuilt.name == job.name
        assert [each.key for each in rebuilt.upstream()] == [each.key for each in job.upstream()]
    guided = known.job(before["tarflow.s1.guided.small"].key)
    trained = guided.inputs["output"].inputs["weights"].task
    assert isinstance(trained, TrainTask) and (trained.phase_name, trained.seed) == ("tune", 1)
    assert guided.compute == before["tarflow.s1.guided.small"].compute


def test_a_result_that_is_nowhere_and_a_task_of_another_version_are_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    job = plan_of(tmp_path).job("tarflow.main.s0")
    edit(tmp_path, "mini/tarflow", "width: 16", "width: 24")
    with monkeypatch.context() as later, pytest.raises(PlanError, match="gives its task another key") as caught:
        later.setattr(TrainTask, "version", TrainTask.version + 1)
        RecordedJobs(plan_of(tmp_path)).job(job.key)
    assert "made by mimflow 0.1.0, commit 0123456789ab" in str(caught.value)
    shutil.rmtree(tmp_path / job.folder)
    with pytest.raises(PlanError, match=f"the job {job.id} is neither in the store nor what specs ask for"):
        RecordedJobs(plan_of(tmp_path)).job(job.key)


def test_where_pinned_images_lie_is_taken_from_the_data_set_of_the_same_pin(tmp_path: Path) -> None:
    write_photographs(tmp_path / "data/photographs", train=2, val=1)
    write(tmp_path, "datasets/photographs", PHOTOGRAPHS)
    list(lock(plan_of(tmp_path).workspace, [], contents=True))
    job = plan_of(tmp_path).job("photographs", "prepare")
    put(tmp_path, job, data_facts("0"))
    edit(tmp_path, "datasets/photographs", "size: 8", "size: 16")
    assert plan_of(tmp_path).job("photographs", "prepare").key != job.key
    rebuilt = RecordedJobs(plan_of(tmp_path)).job(job.key).task
    assert rebuilt == job.task and isinstance(rebuilt, PrepareTask)
    assert rebuilt.dataset.source.path == "data/photographs"  # type: ignore[attr-defined]
