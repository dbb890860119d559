"""The tour runs from beginning to end, and the documents show what it prints."""

from __future__ import annotations

import re
import runpy
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from projects import REPOSITORY

DOCS = REPOSITORY / "docs"
TOUR = runpy.run_path(str(DOCS / "tour.py"))
COMMAND = re.compile(r"^\$ .*$", re.MULTILINE)


def told(page: str) -> list[str]:
    """The words of a page, line by line, without what differs between two machines: numbers, and what is best."""
    page = re.sub(r"[-−+]?\d[\d.,]*(e[-+]?\d+)?", "0", page.replace("**", "").replace("<u>", "").replace("</u>", ""))
    page = re.sub(r"-{2,}", "-", page)  # a table's columns are as wide as their numbers
    return [" ".join(line.split()) for line in page.splitlines()]


def test_the_path_from_images_to_a_model_is_short() -> None:
    starting = (DOCS / "starting.md").read_text(encoding="utf-8")
    assert len(COMMAND.findall(starting)) < 10
    assert "](tour.md)" in starting


def test_what_differs_between_two_machines_is_masked(tmp_path: Path) -> None:
    line = f"run  a.main.s0  0123456789abcdef  took 12.5 s, 1:02:03 left, 3 min → {tmp_path}/x"
    assert TOUR["masked"](line, tmp_path) == f"run  a.main.s0  {'x' * 16}  took 00.0 s, 0:00:00 left, 0 min → ~/x"
    place = "# /usr/lib/mimflow/shipped/specs/mini/tarflow-mnist5k.yaml:15, and specs/a.yaml:10:12: wrong"
    assert TOUR["masked"](place, tmp_path) == place.replace("/usr/lib/", "…/")


def test_the_documents_show_the_script() -> None:
    for name, blocks in TOUR["read"]()[1].items():
        page = (DOCS / name).read_text(encoding="utf-8")
        for block in blocks:
            assert "\n".join(block.text) in page, f"docs/{name}: python docs/tour.py"
        typed = [first for block in blocks for first, *written in map(str.splitlines, block.commands) if not written]
        assert [line.removeprefix("$ ") for line in COMMAND.findall(page)] == typed, f"docs/{name}: python docs/tour.py"


REPRODUCE = "mimflow reproduce results/photos.md --row photos-tarflow"
INSTEAD = {
    "mimflow train tarflow-epochs-2.main.s0": "mimflow plan tarflow-epochs-2.main.s0",
    f"{REPRODUCE} 2>/dev/null": "mkdir -p ../again/results && cp -R results/store ../again/results"
    f" && rm -r ../again/results/store/evaluations/* && {REPRODUCE} --keep ../again 2>/dev/null",
}
"""Processes that take long, and what takes seconds: nothing is shown of the training, and to measure again is enough."""


@pytest.mark.slow
def test_the_documents_show_what_the_tour_prints(tmp_path: Path) -> None:
    shown = {command for blocks in TOUR["read"]()[1].values() for block in blocks for command in block.commands}
    assert INSTEAD.keys() <= shown
    for name, page in TOUR["pages"](tmp_path / "tour", INSTEAD).items():
        found, shown = told(page), told((DOCS / name).read_text(encoding="utf-8"))
        # Two machines differ in a line here and there: which of two runs is better, which job was done first.
        alike = SequenceMatcher(None, found, shown, autojunk=False).ratio()
        assert alike > 0.8, f"docs/{name}: {alike:.0%} of its lines are what the tour prints: python docs/tour.py"
