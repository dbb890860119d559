"""A table is rendered from its evaluations alone, which is what `dvc pull results/store/evaluations` brings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tables_project import cells, make_project, plan_of, put_weights, render

from mimflow.plan.freshness import product_record, render_reason


def test_a_table_of_its_numbers_alone_lacks_facts_and_is_made_anew_once_they_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    job = plan_of(tmp_path).job("tarflow.tune.s0")
    (tmp_path / job.folder / "log.csv").write_text("step,loss\n1,2.5\n", encoding="utf-8")
    put_weights(tmp_path, job)
    whole = render(tmp_path)
    shutil.move(tmp_path / "results/store", tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere/evaluations", tmp_path / "results/store/evaluations")
    assert render_reason(plan_of(tmp_path).product("t")) == "", "what is rendered stays what it is"
    capsys.readouterr()
    bare = render(tmp_path)
    said = capsys.readouterr().err
    assert said.startswith("table 't': rendered without train extractor, train gaussian.s0") and "`dvc pull`" in said
    for row in ("Gaussian", "TARFlow"):
        assert cells(bare, row)[:2] == ["—", "—"]
        assert cells(bare, row)[2:] == cells(whole, row)[2:]
    assert (tmp_path / "results/plots/t/tarflow.s0.csv").read_text() == "step,loss\n1,2.5\n"
    record = product_record(plan_of(tmp_path).product("t"))
    assert record is not None and "train tarflow.s0" in record.facts["without"]
    shutil.rmtree(tmp_path / "results/store")
    shutil.move(tmp_path / "elsewhere", tmp_path / "results/store")
    assert "rendered without train extractor" in render_reason(plan_of(tmp_path).product("t"))
    assert render(tmp_path) == whole
