"""What runs, failed and was interrupted, as the files of jobs tell it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from projects import new_project

from mimflow.artifacts.lock import holder, locked
from mimflow.errors import Interrupted, NotFiniteError
from mimflow.plan import paths
from mimflow.plan.activity import activity, rows_so_far
from mimflow.plan.describe import describe_plan
from mimflow.plan.listing import list_all
from mimflow.plan.running import describe_running
from mimflow.products.registry import open_plan
from mimflow.progress import RECORD, Progress
from mimflow.stages.attempts import noting_failure

DEAD = 2**22 + 1
"""More than the largest number of a process on Linux."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "project")


def attempt(project: Path, job: str, **record: object) -> Path:
    folder = paths.work(project, job) / "0123456789abcdef"
    folder.mkdir(parents=True)
    known = {"job": "train tarflow.main.s0", "unit": "step", "done": 30, "total": 60, "first": 10, "images": 640}
    (folder / RECORD).write_text(json.dumps(known | {"seconds": 10.0, "figures": {"loss": 1.5}} | record))
    return folder


def checkpoint(folder: Path, step: int) -> None:
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / f"step-{step:09}.safetensors").touch()


def hold(project: Path, job: str, process: int) -> None:
    paths.work_lock(project, job).write_text(f"process {process} on {socket.gethostname()}")


def tarflow(project: Path) -> str:
    return open_plan(project).job("tarflow.main.s0").id


def test_one_that_runs_shows_step_speed_time_left_and_health(project: Path) -> None:
    job = tarflow(project)
    attempt(project, job, validation={"loss": 1.25, "bpd": None}, warning="step 7: skipped, 1 so far")
    hold(project, job, os.getpid())
    lines = describe_running(project).splitlines()
    who = f"process {os.getpid()} on {socket.gethostname()}"
    # 20 steps and 640 images in 10 s; 30 steps are left.
    assert lines == [
        f"train tarflow.main.s0: step 30 of 60 ({who})",
        "  2 steps/s, 64 images/s, 0:15 left",
        "  last: loss 1.5",
        "  last validation: loss 1.25, bpd not finite",
        "  health: step 7: skipped, 1 so far",
    ]
    plan = open_plan(project)
    assert f"running  train     tarflow.main.s0    {job}  step 30 of 60, {who}, 0:15 left" in describe_plan(
        plan, "tarflow.s0.guided"
    )
    assert "running at step 30 of 60" in list_all(plan, "runs")


def test_one_that_trains_shows_the_last_row_of_its_log_and_its_best_validation(project: Path) -> None:
    job = tarflow(project)
    folder = attempt(project, job, validation={"loss": 1.25}, validated_at=24)
    head = "step,epoch,lr,loss,nll,grad_norm,seconds,kept,val_loss\n"
    rows = "12,1,1e-3,1.75,2,0.5,3,1,1.125\n24,2,1e-3,1.5,2,0.25,6,1,1.25\n25,2.1,1e-3,1.625,2,0.75,9,0,\n26,2.2,1e"
    (folder / "log.csv").write_text(head + rows)  # the last row is being written
    hold(project, job, os.getpid())
    assert describe_running(project).splitlines()[2:4] == [
        "  last: loss 1.625, grad_norm 0.75",
        "  last validation: loss 1.25 at step 24 (least loss 1.125 at step 12)",
    ]
    assert rows_so_far(project, job)[-1]["step"] == 25


@pytest.mark.parametrize(
    ("record", "speed"),
    [
        ({"done": 15}, "  2 s a step, 64 images/s, 1:30 left"),  # 5 steps in 10 s, 45 are left
        ({"unit": "batch"}, "  2 batches/s, 0:15 left"),
    ],
)
def test_speed_is_said_so_that_it_is_read(project: Path, record: dict[str, object], speed: str) -> None:
    job = tarflow(project)
    attempt(project, job, **record)
    hold(project, job, os.getpid())
    assert describe_running(project).splitlines()[1].startswith(speed)


def test_a_killed_one_is_interrupted_at_its_last_checkpoint(project: Path) -> None:
    job = tarflow(project)
    folder = attempt(project, job)
    checkpoint(folder, 20)
    checkpoint(folder, 25)
    hold(project, job, DEAD)
    found = activity(project, job)
    assert found is not None and found.words == "interrupted at step 25 of 60"
    assert describe_running(project).splitlines() == [
        "nothing runs",
        "train tarflow.main.s0: interrupted at step 25 of 60",
    ]
    assert "interrupted at step 25 of 60" in list_all(open_plan(project), None)
    assert f"{job}  step 25 of 60; never run" in describe_plan(open_plan(project), "tarflow")


def test_one_that_gave_up_says_why_until_it_is_tried_again(project: Path) -> None:
    job = tarflow(project)
    folder = attempt(project, job)
    with pytest.raises(NotFiniteError), noting_failure(folder):
        raise NotFiniteError("loss is nan at step 31 of 60\nmore")
    found = activity(project, job)
    assert found is not None and found.words == "failed: loss is nan at step 31 of 60"
    assert "loss is nan at step 31 of 60; never run" in describe_plan(open_plan(project), "tarflow")
    with pytest.raises(Interrupted), noting_failure(folder):
        raise Interrupted("SIGTERM")
    found = activity(project, job)
    assert found is not None and found.state == "interrupted"


def test_damaged_records_are_as_none(project: Path) -> None:
    job = tarflow(project)
    folder = attempt(project, job)
    for text in ("", "[1]", '{"done": "many", "figures": 3}'):
        (folder / RECORD).write_text(text)
        found = activity(project, job)
        assert found is not None and found.words == "interrupted" and found.figures == {}


def test_a_lock_that_is_held_names_its_holder_and_one_that_is_not_none(tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    assert holder(lock) is None
    with locked(lock, "a job"):
        assert holder(lock) == f"process {os.getpid()} on {socket.gethostname()}"
    assert holder(lock) is None
    lock.write_text(f"process {DEAD} on {socket.gethostname()}")
    assert holder(lock) is None
    lock.write_text("process 1 on another-host")  # the kernel says that nobody has it
    assert holder(lock) is None


def test_progress_is_kept_in_a_file_that_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    with Path(os.devnull).open("w") as nowhere:
        progress = Progress("train x", stream=nowhere)
        progress.record_at(path)
        assert json.loads(path.read_text())["total"] == 0
        progress.start(10, done=4)
        progress.advance(5, images=8, loss=0.5)  # within a second of the last write: not written
        assert json.loads(path.read_text())["done"] == 4
        progress.validated({"loss": 0.25}, 6)
        progress.warn("warning: pale")
        progress.advance(10, images=8, loss=0.125)
    record = json.loads(path.read_text())
    seconds = record.pop("seconds")
    assert 0 <= seconds < 60
    assert record == {
        "job": "train x",
        "unit": "step",
        "done": 10,
        "total": 10,
        "first": 4,
        "images": 16,
        "figures": {"loss": 0.125},
        "validation": {"loss": 0.25},
        "validated_at": 6,
        "warning": "warning: pale",
    }
    assert [file.name for file in tmp_path.iterdir()] == [RECORD]
