"""Texts in CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest
from artifacts import data_facts, store_artifact

from mimflow.artifacts.cells import from_cell, to_cell
from mimflow.artifacts.data import SourceFile, read_sources, write_sources

pytestmark = pytest.mark.fault("tables")


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "＝1", "'quoted"])
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert to_cell(text) == f"'{text}"
    assert from_cell(f"'{text}") == text


@pytest.mark.parametrize("value", ["TARFlow", "a=b", "", -1.5, 3, None])
def test_other_cells_stay(value: object) -> None:
    assert to_cell(value) == value


def test_names_of_images_that_are_formulas_are_read_back_as_they_are(tmp_path: Path) -> None:
    name = '=HYPERLINK("x")/a.png'
    write_sources(tmp_path, [SourceFile(name, 3, "ab", "-")])
    assert (tmp_path / "sources.csv").read_text().splitlines()[1] == '"\'=HYPERLINK(""x"")/a.png",3,ab,\'-'
    artifact = store_artifact(tmp_path, stage="prepare", name="tiny", facts=data_facts("a"))
    assert read_sources(artifact) == {name: SourceFile(name, 3, "ab", "-")}
