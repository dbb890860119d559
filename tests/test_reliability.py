"""docs/reliability.md is true: the tests that it names are there, and every kind of fault that is tried has its promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY

TESTS = REPOSITORY / "tests"
PAGE = (REPOSITORY / "docs/reliability.md").read_text(encoding="utf-8")


def test_the_page_names_tests_that_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert PAGE.count("::test_") == len(named) > 0
    there = {
        (path.relative_to(TESTS).as_posix(), node.name)
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert sorted(set(named) - there) == []


def test_every_row_of_a_promise_has_a_test() -> None:
    sections = PAGE.split("\n## ")
    promised, repaired = (next(part for part in sections if part.startswith(name)) for name in ("Promised", "Repaired"))
    rows = [line for part in (promised, repaired) for line in part.splitlines() if line.startswith("| ")]
    assert [row for row in rows if "::test_" not in row and not row.endswith("| test |")] == []


def test_every_kind_of_fault_that_is_tried_is_promised_something() -> None:
    tried = {
        kind for path in TESTS.rglob("test_*.py") for kind in re.findall(r'mark\.fault\("([^"]+)"\)', path.read_text())
    }
    assert sorted(tried) == re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE, re.MULTILINE)


TRIED = """
import pytest

@pytest.mark.fault("clocks")
@pytest.mark.parametrize("year", [1970, 2038, 9999])
def test_a_file_of_another_year(year):
    assert year != 2038

@pytest.mark.fault("checkpoints")
def test_a_torn_cache():
    pass

@pytest.mark.fault("checkpoints")
@pytest.mark.skip(reason="no such disk")
def test_a_cache_on_another_disk():
    pass

def test_no_fault():
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_line_for_each_fault_with_its_kind_and_what_came_of_it(processes: str, tmp_path: Path) -> None:
    (tmp_path / "test_tried.py").write_text(TRIED)
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text(encoding="utf-8"))
    words = [sys.executable, "-m", "pytest", "-m", "fault", "-n", processes, "-c", REPOSITORY / "pyproject.toml"]
    done = subprocess.run(
        [*words, "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    start = next(index for index, line in enumerate(lines) if line[1:5] == ["5", "faults", "of", "2"])
    assert lines[start + 1 : start + 4] == [
        ["checkpoints", "1", "skipped", "a", "cache", "on", "another", "disk"],
        ["checkpoints", "1", "passed", "a", "torn", "cache"],
        ["clocks", "2", "passed,", "1", "failed", "a", "file", "of", "another", "year"],
    ]
