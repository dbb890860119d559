"""Jobs that are forked: the same as those that start a Python of their own, to the bit, the signal and the exit code."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import copy_project, edit, new_project, result_of

from mimflow.forking.client import ADDRESS
from mimflow.forking.start import FEWEST_JOBS, FORBIDDEN, GPU_DEVICES, start
from mimflow.products.registry import keep_workspace, open_plan, open_workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks elsewhere are not safe, and are not made"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The socket of a server that runs until the tests of this file are done."""
    if any(Path(device).exists() for device in GPU_DEVICES):
        pytest.skip("a GPU is here: jobs are not forked")
    server = start(FEWEST_JOBS)
    assert server is not None
    yield os.environ.pop(ADDRESS)
    server.communicate(timeout=60)


def client(address: str, *words: str, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mimflow", *words],
        cwd=cwd,
        env={**os.environ, ADDRESS: address, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def watching(address: str, project: Path) -> tuple[subprocess.Popen[str], int]:
    """A client whose command goes on until it is stopped, and the process that was forked for it."""
    process = client(address, "status", "--watch", cwd=project)
    assert process.stdout is not None
    process.stdout.readline()
    return process, forked(project)


def forked(folder: Path) -> int:
    """The process of the server's that works in a folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"mimflow.forking" in words and (path / "cwd").readlink() == folder:
                return int(path.name)
        except OSError:  # it has ended
            continue
    raise AssertionError(f"no forked process in {folder}")


def gone(process: int) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if not Path(f"/proc/{process}").exists():
            return True
        time.sleep(0.05)
    return False


def test_output_and_exit_code_are_the_jobs(address: str, tmp_path: Path) -> None:
    done = client(address, "--version")
    out, errors = done.communicate(timeout=60)
    assert (done.returncode, out, errors) == (0, "mimflow 0.1.0\n", "")
    done = client(address, "validate", cwd=tmp_path)
    out, errors = done.communicate(timeout=60)
    assert (done.returncode, out) == (2, "")
    assert errors.startswith("specs: no such folder")


@pytest.mark.parametrize("folder", ["outputs", "evaluations"])
def test_a_job_gives_the_same_bytes_either_way(address: str, finished: Path, tmp_path: Path, folder: str) -> None:
    stage, name = {
        "outputs": ("infer", "tarflow.s0.guided"),
        "evaluations": ("evaluate", "tarflow.s0.guided.digits-200"),
    }[folder]
    made = []
    for way, words in (("forked", {ADDRESS: address}), ("alone", {})):
        project = copy_project(finished, tmp_path / way)
        result = result_of(project, folder, name)
        shutil.rmtree(result)
        environment = {**os.environ, **words, "OMP_NUM_THREADS": "2"}
        subprocess.run([sys.executable, "-m", "mimflow", stage, name], cwd=project, env=environment, check=True)
        made.append({path.name: path.read_bytes() for path in result.iterdir() if path.name != "manifest.json"})
    assert made[0] == made[1]


def test_signals_reach_the_job_and_its_end_is_the_clients(address: str, finished: Path) -> None:
    process, _ = watching(address, finished)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM  # as without a server: the command does not handle it
    process, _ = watching(address, finished)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_a_client_that_is_killed_takes_its_job_with_it(address: str, finished: Path) -> None:
    process, job = watching(address, finished)
    process.kill()
    process.wait(30)
    assert gone(job)


def test_a_job_that_is_killed_ends_its_client_likewise(address: str, finished: Path) -> None:
    process, job = watching(address, finished)
    os.kill(job, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


def test_jobs_end_when_the_process_that_started_the_server_does(finished: Path) -> None:
    code = f"""
import os, subprocess, sys
from mimflow.forking.start import start
start({FEWEST_JOBS})
job = subprocess.Popen([sys.executable, "-m", "mimflow", "status", "--watch"], stdout=subprocess.PIPE)
job.stdout.readline()
print(job.pid, flush=True)
sys.stdin.read()
"""
    words = [sys.executable, "-c", code]
    starter = subprocess.Popen(words, cwd=finished, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    waiting, job = int(starter.stdout.readline()), forked(finished)
    starter.kill()
    assert starter.wait(30) == -signal.SIGKILL
    assert gone(job)
    assert gone(waiting)


def test_where_there_is_no_server_the_client_does_the_job(tmp_path: Path) -> None:
    done = client(str(tmp_path / "none"), "--version")
    assert done.communicate(timeout=60)[0] == "mimflow 0.1.0\n"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "dead"))
    done = client(str(tmp_path / "dead"), "--version")
    assert done.communicate(timeout=60)[0] == "mimflow 0.1.0\n"


def test_a_server_of_other_code_is_not_asked(tmp_path: Path) -> None:
    package = Path(sys.modules["mimflow"].__path__[0])
    shutil.copytree(package, tmp_path / "mimflow", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = f"""
import os, subprocess, sys, time
from pathlib import Path
from mimflow.forking.start import start
server = start({FEWEST_JOBS})
words = [sys.executable, "-P", "-c", "from mimflow.forking.client import run_there; print(run_there(['--version']))"]
print(subprocess.run(words, capture_output=True, text=True).stdout.split())
changed = Path({str(tmp_path / "mimflow/seeds.py")!r})
changed.write_text(changed.read_text() + "# changed")
print(subprocess.run(words, capture_output=True, text=True).stdout.split())
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == ["['mimflow', '0.1.0', '0']", "['None']"]


def test_few_jobs_a_gpu_or_the_users_word_start_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert start(FEWEST_JOBS - 1) is None
    monkeypatch.setattr("mimflow.forking.start.GPU_DEVICES", (str(tmp_path),))
    assert start(FEWEST_JOBS) is None
    monkeypatch.setattr("mimflow.forking.start.GPU_DEVICES", ())
    monkeypatch.setenv(FORBIDDEN, "no")
    assert start(FEWEST_JOBS) is None


def test_specs_that_are_kept_are_the_specs_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path / "project")
    monkeypatch.chdir(project)
    keep_workspace(Path())
    kept, before = open_workspace(Path()), open_plan(Path()).job("tarflow.main.s0").id
    assert open_workspace(Path()) is kept and open_workspace(project) is not kept
    edit(project, "mini/tarflow", "steps: 60", "steps: 61")
    assert open_workspace(Path()) is not kept
    assert open_plan(Path()).job("tarflow.main.s0").id != before


def test_a_render_that_is_forked_gives_the_same_files(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(finished, tmp_path / "project")
    before = {name: (project / f"results/table1.{name}").read_bytes() for name in ("md", "csv", "html", "png")}
    for name in before:
        (project / f"results/table1.{name}").unlink()
    monkeypatch.chdir(project)
    server = start(FEWEST_JOBS)
    assert server is not None
    done = client(os.environ.pop(ADDRESS), "render", "table1")
    out, errors = done.communicate(timeout=120)
    server.communicate(timeout=60)
    assert done.returncode == 0, out + errors
    assert {name: (project / f"results/table1.{name}").read_bytes() for name in before} == before
