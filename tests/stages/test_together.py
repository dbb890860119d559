"""The command that trains on several devices of this machine."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from projects import cli, command, copy_project, edit, new_project

from mimflow.artifacts.manifest import read_manifest
from mimflow.errors import Interrupted, PeerLostError
from mimflow.products.registry import open_plan

pytestmark = [pytest.mark.slow, pytest.mark.fault("interruptions")]

SECONDS = 120
"""That starting two processes may take on a machine that has other work to do."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its images, and a training for two devices. Tests copy it; none changes it."""
    project = new_project(tmp_path_factory.mktemp("together") / "project")
    edit(project, "mini/tarflow", "batch_size: 32", "batch_size: 32\n    accumulate: 2")
    edit(project, "mini/tarflow", "outputs:", "compute: {device: cpu, devices: 2}\noutputs:")
    cli(project, "prepare", "digits")
    return project


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    return copy_project(prepared, tmp_path / "project")


def begin(project: Path) -> tuple[subprocess.Popen[str], list[psutil.Process], list[str]]:
    """A long training, its two processes, and what it has said, once it has done a step."""
    edit(project, "mini/tarflow", "steps: 60", "steps: 1000000\n    checkpoint_seconds: 3600.0")
    started = subprocess.Popen(
        [sys.executable, "-m", "mimflow", "train", "tarflow.main.s0"], cwd=project, stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    said: list[str] = []
    for line in started.stderr:
        said.append(line)
        if "step " in line:
            return started, sorted(psutil.Process(started.pid).children(), key=lambda one: one.pid), said
    raise AssertionError("".join(said))


def test_a_job_of_two_devices_is_done_by_two_processes(project: Path) -> None:
    job = open_plan(project).job("tarflow.main.s0")
    done = command(project, "mimflow", "train", job.id)
    manifest = read_manifest(project / job.manifest)
    assert manifest.facts["processes"] == 2 and manifest.facts["steps"] == 60
    # Only the first speaks.
    assert len(re.findall("step 60/60", done.stdout)) == 1
    edit(project, "mini/tarflow", "devices: 2", "devices: 1")
    assert open_plan(project).job("tarflow.main.s0").key == job.key
    assert "done already" in command(project, "mimflow", "train", job.id).stdout


def test_a_signal_is_passed_on(project: Path) -> None:
    started, processes, said = begin(project)
    assert len(processes) == 2
    started.send_signal(signal.SIGTERM)
    _, rest = started.communicate(timeout=SECONDS)
    assert started.returncode == Interrupted.exit_code, "".join(said) + rest
    assert len(re.findall(r"SIGTERM at step \d+ of 1000000; the next run goes on from", rest)) == 1
    assert "Traceback" not in rest
    assert list(project.glob(".mimflow/work/*/*/checkpoints/step-*.safetensors"))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_other_in_seconds(project: Path, rank: int) -> None:
    started, processes, said = begin(project)
    processes[rank].kill()
    began = time.monotonic()
    _, rest = started.communicate(timeout=SECONDS)
    assert time.monotonic() - began < 20
    assert started.returncode == PeerLostError.exit_code, "".join(said) + rest
    assert f"process {rank} of 2 was ended by SIGKILL" in rest
    assert "Traceback" not in rest
    assert not any(process.is_running() for process in processes)
