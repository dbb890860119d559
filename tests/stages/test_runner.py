"""One job at a time, whole results, and results of other code."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from artifacts import rewrite_manifest
from projects import cli, command, copy_project, edit, new_project

from mimflow.artifacts.lock import locked
from mimflow.artifacts.manifest import read_manifest
from mimflow.errors import ArtifactError, Interrupted, OutOfMemoryError, PlanError, StorageError
from mimflow.products.registry import open_plan
from mimflow.stages.runner import run_job

pytestmark = [pytest.mark.slow, pytest.mark.fault("interruptions")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its images, and a training that takes long. Tests copy it; none changes it."""
    project = new_project(tmp_path_factory.mktemp("runner") / "project")
    edit(project, "mini/tarflow", "steps: 60", "steps: 100000")
    cli(project, "prepare", "digits")
    return project


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    return copy_project(prepared, tmp_path / "project")


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.is_file() or not path.read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def wait_until_sigterm_is_caught(pid: int) -> None:
    """Until training has begun: before, SIGTERM just ends the process."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.05)
    raise AssertionError("training did not begin")


def test_a_second_process_leaves_and_sigterm_keeps_the_work(project: Path) -> None:
    job = open_plan(project).job("tarflow.main.s0")
    words = [sys.executable, "-m", "mimflow", "train", job.id]
    first = subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(project / ".mimflow/work" / f"{job.id}.lock", first)
        second = command(project, "mimflow", "train", job.id, check=False)
        assert second.returncode == 6
        assert second.stdout == (
            f"tarflow.main.s0: process {first.pid} on {socket.gethostname()} is at work on it (wait for it, or end it)\n"
        )
        wait_until_sigterm_is_caught(first.pid)
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 143, errors
    assert "Traceback" not in errors
    assert not (project / job.folder).exists()


@pytest.mark.fault("manifests")
def test_a_job_without_its_inputs_names_them(project: Path) -> None:
    plan = open_plan(project)
    with pytest.raises(
        PlanError,
        match=r"train tarflow\.main\.s0: not there yet \(run `snakemake --cores all results/store/checkpoints/",
    ):
        run_job(plan, plan.job("tarflow.s0.guided"))


@pytest.mark.fault("manifests")
def test_an_artifact_of_another_key_is_refused(project: Path) -> None:
    plan = open_plan(project)
    job = plan.job("digits")
    manifest = project / job.manifest
    rewrite_manifest(manifest, key="0" * 64)
    with pytest.raises(
        ArtifactError, match=r"its manifest has the key 000000000000… \(not made by this job: delete it\)"
    ):
        run_job(plan, plan.job("gaussian.main.s0"))


@pytest.mark.fault("mixed code")
def test_strict_code_refuses_what_other_code_made(project: Path) -> None:
    plan = open_plan(project)
    job = plan.job("digits")
    manifest = project / job.manifest
    planned = cli(project, "plan", "table1").splitlines()
    assert planned[0].split() == ["done", "prepare", "digits", job.id]
    rewrite_manifest(manifest, made=read_manifest(manifest).made | {"source": "f" * 64})
    planned_again = cli(project, "plan", "table1")
    assert planned_again.split()[:3] == ["done", "prepare", "digits"] and "code changed since" in planned_again
    done = command(project, "mimflow", "prepare", "digits", "--strict-code", check=False)
    assert done.returncode == 2 and "the code of its stage has changed since it was made" in done.stdout


@pytest.mark.fault("manifests")
def test_a_stage_refuses_the_job_of_another_and_an_old_key_says_the_new_one(project: Path) -> None:
    with pytest.raises(PlanError, match=r"is a job of stage train: mimflow train tarflow\.main\.s0"):
        cli(project, "infer", "tarflow.main.s0")
    old = open_plan(project).job("tarflow.main.s0").id
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: 2e-3")
    assert open_plan(project).job("tarflow.main.s0").id != old
    with pytest.raises(PlanError, match=f"no spec asks for the job {old} any more: specs have changed since"):
        cli(project, "train", old)


def test_leftovers_of_a_killed_attempt_enter_neither_store_nor_manifest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = open_plan(project)
    job = plan.job("gaussian.main.s0")

    def killed(task: object, inputs: object, work: Path, progress: object) -> None:
        for name in (".weights.safetensors.x.safetensors", "snapshots/.0.5.safetensors.x.safetensors"):
            (work / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "out" / name).write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("mimflow.stages.train.run", killed)
        run_job(plan, job)
    assert list((project / ".mimflow/work").rglob(".weights*"))
    artifact = run_job(plan, job)
    assert not [name for name in artifact.manifest.files if name.rpartition("/")[2].startswith(".")]
    assert list(artifact.folder.rglob(".*")) == []
    assert not list((project / ".mimflow/work").rglob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_ends_any_stage_with_a_line(
    project: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            # A second one does not cut the cleaning up short.
            os.kill(os.getpid(), number)
            (project / "cleaned").touch()

    monkeypatch.setattr("mimflow.stages.features.run", interrupted)
    monkeypatch.setattr("mimflow.stages.train.run", interrupted)
    before = signal.getsignal(number)
    plan = open_plan(project)
    with pytest.raises(Interrupted, match=rf"^gaussian\.main\.s0: {number.name}; the next run goes on") as caught:
        run_job(plan, plan.job("gaussian.main.s0"))
    assert caught.value.exit_code == 143 and (project / "cleaned").is_file()
    assert signal.getsignal(number) is before


def test_what_becomes_an_error_of_its_own_is_still_an_interruption(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals fall anywhere: numpy, in the middle of importing itself, ends in a RecursionError."""

    def interrupted(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            raise RecursionError from None

    monkeypatch.setattr("mimflow.stages.features.run", interrupted)
    monkeypatch.setattr("mimflow.stages.train.run", interrupted)
    plan = open_plan(project)
    with pytest.raises(Interrupted, match=r"SIGTERM; the next run goes on"):
        run_job(plan, plan.job("gaussian.main.s0"))


@pytest.mark.fault("memory and disks")
def test_memory_that_runs_out_anywhere_in_a_stage_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    plan = open_plan(project)
    monkeypatch.setattr("mimflow.stages.train.run", too_large)
    wanted = r"train gaussian\.main\.s0: out of memory \(try a larger accumulate, a smaller batch_size"
    with pytest.raises(OutOfMemoryError, match=wanted):
        run_job(plan, plan.job("gaussian.main.s0"))


@pytest.mark.fault("memory and disks")
@pytest.mark.parametrize("stage", ["prepare", "features", "train", "infer", "reference", "evaluate"])
def test_every_stage_says_what_to_change_where_memory_runs_out(stage: str) -> None:
    assert import_module(f"mimflow.stages.{stage}").OUT_OF_MEMORY


@pytest.mark.fault("memory and disks")
def test_a_disk_that_is_full_while_a_result_is_copied_to_it_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(self: Path, target: Path) -> Path:
        if self.name == "out":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(self, target)

    def full(source: Path, target: Path) -> None:
        raise shutil.Error([(str(source / "a"), str(target / "a"), "[Errno 28] No space left on device")])

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", other_disk)
    plan = open_plan(project)
    job = plan.job("gaussian.main.s0")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        with pytest.raises(StorageError, match=r"\.partial/a: can't write: \[Errno 28\] No space left on device"):
            run_job(plan, job)
    assert run_job(plan, job).manifest.key == job.key


@pytest.mark.fault("places")
def test_a_store_whose_folders_are_links_and_an_artifact_that_is_one(project: Path, tmp_path: Path) -> None:
    checkpoints, elsewhere = project / "results/store/checkpoints", tmp_path / "disk"
    elsewhere.mkdir()
    checkpoints.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.symlink_to(elsewhere, target_is_directory=True)
    names = project / "results/by-name/checkpoints"
    (tmp_path / "names").mkdir()
    names.symlink_to(tmp_path / "names", target_is_directory=True)
    plan = open_plan(project)
    job = plan.job("gaussian.main.s0")
    run_job(plan, job)
    assert (names / "gaussian.main.s0" / "manifest.json").is_file()
    moved = tmp_path / "moved"
    (elsewhere / job.id).replace(moved)
    (elsewhere / job.id).symlink_to(moved, target_is_directory=True)
    edit(project, "mini/gaussian", "patch_size: 2", "patch_size: 4")
    listed = cli(project, "gc", "--delete")
    assert f"results/store/checkpoints/{job.id}" in listed
    assert not (elsewhere / job.id).is_symlink() and (moved / "manifest.json").is_file(), "only the link is ours"


def test_gc_collects_work_that_is_over_and_leaves_what_is_under_way(project: Path) -> None:
    plan = open_plan(project)
    work = project / ".mimflow/work"
    under_way, over, unknown = plan.job("gaussian.main.s0").id, plan.job("digits").id, "0" * 16
    for name in (under_way, over, unknown):
        (work / name / "out").mkdir(parents=True)
        (work / name / "out/half").write_text("half")
    partial = project / "results/store/checkpoints" / f".{unknown}.partial"
    partial.mkdir(parents=True)
    tasks = {name: project / ".mimflow/tasks" / f"{name}.json" for name in (under_way, "1" * 16)}
    for task in tasks.values():
        task.parent.mkdir(exist_ok=True)
        task.write_text("{}")
    with locked(work / f"{unknown}.lock", "job"):
        text = cli(project, "gc", "--delete")
    assert tasks[under_way].is_file() and not tasks["1" * 16].exists()
    assert "4 folders and files" in text and "deleted but 2 that a process is at work on" in text
    assert not (work / over).exists() and (work / unknown).is_dir() and partial.is_dir()
    assert "2 folders and files" in cli(project, "gc", "--delete")
    assert not (work / unknown).exists() and not partial.exists() and (work / under_way / "out/half").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_a_job_ends_when_its_snakemake_is_killed(project: Path) -> None:
    job = open_plan(project).job("tarflow.main.s0")
    script = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'mimflow', 'train', '{job.id}']); time.sleep(300)"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=project, stderr=subprocess.DEVNULL, text=True)
    lock = project / ".mimflow/work" / f"{job.id}.lock"
    wait_for(lock, parent)
    child = int(lock.read_text().split()[1])
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    alive = Path(f"/proc/{child}").exists()
    if alive:
        os.kill(child, signal.SIGKILL)
    assert not alive
