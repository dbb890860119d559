"""Git that refuses a folder of another user's: recorded with every result, said once where a workflow begins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from specs_project import make_specs

from mimflow.artifacts.provenance import describe_process, git_refusal, git_state
from mimflow.workflow import open_workflow

pytestmark = pytest.mark.fault("git")


def git(root: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], cwd=root, check=True, capture_output=True
    )


def test_a_folder_of_another_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_specs(tmp_path)
    assert git_refusal(tmp_path) is None, "no git at all"
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    assert git_refusal(tmp_path) is None and "refused" not in describe_process(tmp_path)["git"]
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    expected = (
        "git refuses this folder, because another user owns it: commits are not recorded "
        f"(git config --global --add safe.directory {tmp_path})"
    )
    assert git_state(tmp_path) == {"commit": None, "clean": None, "refused": expected}, "what every job records"
    assert describe_process(tmp_path)["git"] == git_state(tmp_path)
    open_workflow(tmp_path, main_process=True)
    assert capsys.readouterr().err == expected + "\n"
    open_workflow(tmp_path, main_process=False)
    assert capsys.readouterr().err == ""
