"""One job at a time, whole results, and results of other code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from artifacts import rewrite_manifest
from projects import command, edit, new_project

from mimflow.artifacts.manifest import read_manifest
from mimflow.errors import ArtifactError, PlanError
from mimflow.products.registry import open_plan
from mimflow.stages.runner import run_job

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = new_project(tmp_path / "project")
    edit(project, "mini/tarflow", "steps: 60", "steps: 100000")
    command(project, "mimflow", "prepare", "digits")
    return project


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


def test_a_job_without_its_inputs_names_them(project: Path) -> None:
    plan = open_plan(project)
    with pytest.raises(
        PlanError,
        match=r"train tarflow\.main\.s0: not there yet \(run `snakemake --cores all results/store/checkpoints/",
    ):
        run_job(plan, plan.job("tarflow.s0.guided"))


def test_an_artifact_of_another_key_is_refused(project: Path) -> None:
    plan = open_plan(project)
    job = plan.job("digits")
    manifest = project / job.manifest
    rewrite_manifest(manifest, key="0" * 64)
    with pytest.raises(
        ArtifactError, match=r"its manifest has the key 000000000000… \(not made by this job: delete it\)"
    ):
        run_job(plan, plan.job("gaussian.main.s0"))


def test_strict_code_refuses_what_other_code_made(project: Path) -> None:
    plan = open_plan(project)
    job = plan.job("digits")
    manifest = project / job.manifest
    planned = command(project, "mimflow", "plan", "table1").stdout.splitlines()
    assert planned[0].split() == ["done", "prepare", "digits", job.id]
    rewrite_manifest(manifest, made=read_manifest(manifest).made | {"source": "f" * 64})
    assert "done  prepare   digits" in command(project, "mimflow", "plan", "table1").stdout
    assert "code changed since" in command(project, "mimflow", "plan", "table1").stdout
    done = command(project, "mimflow", "prepare", "digits", "--strict-code", check=False)
    assert done.returncode == 2 and "the code of its stage has changed since it was made" in done.stdout


def test_a_stage_refuses_the_job_of_another_and_an_old_key_says_the_new_one(project: Path) -> None:
    done = command(project, "mimflow", "infer", "tarflow.main.s0", check=False)
    assert done.returncode == 2 and "is a job of stage train: mimflow train tarflow.main.s0" in done.stdout
    old = open_plan(project).job("tarflow.main.s0").id
    edit(project, "mini/tarflow", "lr: 3e-3", "lr: 2e-3")
    assert open_plan(project).job("tarflow.main.s0").id != old
    done = command(project, "mimflow", "train", old, check=False)
    assert done.returncode == 2 and f"no spec asks for the job {old} any more: specs have changed since" in done.stdout


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
