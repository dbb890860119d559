"""Terminals that are not UTF-8, streams that go away or are full, modules of the project's that have Python's names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY, cli, command, new_project

from mimflow.progress import Progress

pytestmark = pytest.mark.fault("places")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "project")


def shell(project: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in a project; both streams where the line leaves them."""
    return command(project, "bash", "-c", line, check=False, **environment)


@pytest.mark.slow
def test_a_terminal_that_is_not_utf8_gets_codes_for_what_it_lacks(project: Path) -> None:
    edit = (project / "specs/mini/tarflow.yaml").read_text().replace("label: TARFlow", "label: σ → ∞")
    (project / "specs/mini/tarflow.yaml").write_text(edit, encoding="utf-8")
    done = shell(project, "mimflow explain tarflow", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0 and r'label: "\u03c3 \u2192 \u221e"' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&-", "2> >(head -c 1 >/dev/null)"])
def test_without_a_standard_error_a_job_goes_on_and_errors_keep_their_codes(project: Path, stream: str) -> None:
    done = shell(project, f"mimflow prepare digits {stream}")
    assert done.returncode == 0 and len(list((project / "results/store/data").iterdir())) == 1
    assert shell(project, f"mimflow plan nothing {stream}").returncode == 2


@pytest.mark.slow
def test_a_full_standard_output_is_told_and_a_closed_pipe_is_none_of_our_business(project: Path) -> None:
    done = shell(project, "mimflow plan table1 > /dev/full")
    assert (done.returncode, done.stdout) == (5, "standard output: can't write: No space left on device\n")
    done = shell(project, "set -o pipefail; mimflow explain tarflow | head -c 1")
    assert done.returncode == 0 and "Error" not in done.stdout


def test_progress_into_a_stream_that_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    os.close(read)
    progress = Progress("job", interval=0.0, stream=stream)
    progress.start(2)
    progress.advance(1)
    progress.say("still at work")
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.close()
    progress.say("still at work")
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize("words", ["mimflow", f"{sys.executable} -m mimflow"], ids=["script", "module"])
def test_modules_of_the_project_are_not_taken_for_pythons(project: Path, words: str) -> None:
    for name in ("random", "tempfile", "statistics", "glob"):
        (project / f"{name}.py").write_text("raise SystemExit('taken for the real one')")
    done = shell(project, f"{words} prepare digits")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_snakemake_by_its_path_runs_its_own_python_and_none_of_the_projects_modules(project: Path) -> None:
    for name in ("random", "statistics"):
        (project / f"{name}.py").write_text("raise SystemExit('taken for the real one')")
    listed = cli(project, "plan", "table1").splitlines()
    (job,) = [line.split()[3] for line in listed if line.split()[1:3] == ["prepare", "digits"]]
    snakemake = Path(sys.executable).parent / "snakemake"
    target = f"results/store/data/{job}/manifest.json"
    done = subprocess.run(
        [snakemake, "--cores", "1", target],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "HOME": str(project), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and (project / target).is_file(), done.stderr
