"""The command line itself: version, help, completion, the project found from within."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import new_project
from typer.main import get_command
from typer.testing import CliRunner

import mimflow
from mimflow.cli import app
from mimflow.plan.paths import FOLDERS


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_it_says_its_version() -> None:
    assert run("--version") == f"mimflow {mimflow.__version__}\n"


COMMANDS = [name for name in get_command(app).commands if name not in (*FOLDERS, "data")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [*COMMANDS, "data lock"])
def test_help_shows_commands_that_can_be_typed(command: str) -> None:
    examples = re.findall(r"^    (mimflow .*)$", run(*command.split(), "--help"), re.MULTILINE)
    assert examples and all(line.removeprefix("mimflow ").startswith(command) for line in examples)


def test_a_project_is_found_from_a_folder_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path / "project")
    monkeypatch.chdir(project / "specs" / "mini")
    assert run("validate", "tarflow.yaml") == "valid: specs/mini/tarflow.yaml\n"
    assert run("plan", "digits").startswith("run   prepare   digits")
    assert run("status") == "nothing runs\n"


def test_what_is_there_is_listed_by_either_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(new_project(tmp_path / "project"))
    listed = run("list", "datasets")
    assert re.search(r"^digits +missing$", listed, re.MULTILINE) and listed == run("ls", "datasets")


def test_names_of_specs_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimflow.verbs import run_names, spec_names

    monkeypatch.chdir(new_project(tmp_path / "project") / "specs")
    assert spec_names("t") == ["table1", "tarflow"]
    assert run_names("tarflow-m") == ["tarflow-mnist5k"] and "tarflow" in run_names("tar")  # what comes along, and here
