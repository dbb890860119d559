"""Tables: what is printed of hand-made results in the store."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tables_project import (
    FACTS,
    GOLDEN,
    METRICS,
    cells,
    drop,
    edit,
    make_project,
    masked,
    plan_of,
    put,
    put_metrics,
    put_samples,
    render,
)

from mimflow.errors import ArtifactError, PlanError, SpecError
from mimflow.plan.freshness import render_reason
from mimflow.products.table.collect import collect


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


# -- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["md", "tex", "csv", "html", "json"])
def test_golden(project: Path, suffix: str) -> None:
    render(project)
    text = (project / "results" / f"t.{suffix}").read_text(encoding="utf-8")
    assert masked(text) == (GOLDEN / f"t.{suffix}").read_text(encoding="utf-8")


def test_numbers_for_dvc_metrics(project: Path) -> None:
    render(project)
    assert json.loads((project / "results/metrics/t/gaussian.json").read_text()) == {
        "unguided.fid": 40.26,
        "unguided.is": 2.5,
    }
    assert json.loads((project / "results/metrics/t/tarflow.json").read_text())["guided.fid"] == 10.5617


def test_csv_has_full_precision(project: Path) -> None:
    render(project)
    rows = list(csv.DictReader(io.StringIO((project / "results/t.csv").read_text(encoding="utf-8"))))
    (row,) = [row for row in rows if (row["run"], row["output"], row["metric"]) == ("tarflow", "guided", "fid")]
    assert float(row["value"]) == pytest.approx((10.123456789 + 11.0) / 2, rel=1e-15)
    assert float(row["std"]) == pytest.approx((11.0 - 10.123456789) / 2**0.5, rel=1e-12)
    assert (row["n"], row["count"], row["protocol"]) == ("2", "1500", "small")


def test_twice_is_byte_identical(project: Path) -> None:
    render(project)
    folder = project / "results"
    files = [folder / f"t.{suffix}" for suffix in ("md", "tex", "csv", "html", "json", "png")] + sorted(
        folder.glob("metrics/t/*.json")
    )
    assert len(files) == 8
    before = [file.read_bytes() for file in files]
    render(project)
    assert [file.read_bytes() for file in files] == before


def test_metrics_of_a_run_that_left_the_table_are_removed(project: Path) -> None:
    render(project)
    edit(project, "tables/t", "{run: gaussian}, ", "")
    render(project)
    assert [path.name for path in (project / "results/metrics/t").iterdir()] == ["tarflow.json"]


# -- rows of one label ---------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(project: Path) -> Path:
    """A table whose two runs inherited one label."""
    edit(project, "mini/gaussian", 'label: "Gaussian & 100 % _simple_ #1"', "label: TARFlow")
    return project


@pytest.mark.fault("labels")
def test_sentences_under_a_table_are_those_of_the_row_that_they_name(twins: Path) -> None:
    lines = render(twins).splitlines()
    (seeds,) = [line for line in lines if "Seeds" in line]
    assert "TARFlow (gaussian): 0; TARFlow (tarflow): 0, 1, 2" in seeds
    (output,) = [line for line in lines if "Output unguided" in line]
    assert "TARFlow (gaussian): inverse; weights of the last step" in output
    assert "TARFlow (tarflow): inverse, denoise (score, std 0.2); averaged weights" in output


@pytest.mark.fault("labels")
def test_rows_of_one_label_are_told_apart_in_the_table(twins: Path) -> None:
    text = render(twins)
    assert cells(text, "TARFlow (gaussian)")[2] == "40.3" and cells(text, "TARFlow (tarflow)")[2] == "**22.0** ± 2.0"
    rows = list(csv.DictReader((twins / "results/t.csv").open(encoding="utf-8")))
    assert {row["run"]: row["row"] for row in rows if row["run"]} == {
        "gaussian": "TARFlow (gaussian)",
        "tarflow": "TARFlow (tarflow)",
    }


@pytest.mark.fault("labels")
def test_a_label_that_looks_like_another_rows_name_has_its_run_too(twins: Path) -> None:
    (twins / "specs/mini/other.yaml").write_text(
        'extends: gaussian.yaml\nlabel: "TARFlow (gaussian)"\n', encoding="utf-8"
    )
    edit(twins, "tables/t", "{run: gaussian}", "{run: gaussian}, {run: other}")
    table = plan_of(twins).product("t")
    assert [table.row_name(row) for row in table.rows] == [
        "TARFlow (gaussian)",
        "TARFlow (gaussian) (other)",
        "TARFlow (tarflow)",
    ]


# -- cells -----------------------------------------------------------------------------------------------------------


def test_one_seed_has_no_spread_and_three_have(project: Path) -> None:
    text = render(project)
    assert cells(text, "TARFlow")[2] == "**22.0** ± 2.0"
    edit(project, "tables/t", "rows:", "seeds: [1]\nrows:")
    edit(project, "mini/gaussian", "phases:", "seeds: [1]\nphases:")
    moved = {name.replace("s0", "s1"): values for name, values in METRICS.items() if name.startswith("gaussian")}
    for job in plan_of(project).jobs.values():
        if job.name.startswith("gaussian.") and job.stage == "evaluate":
            put_metrics(project, job, moved[job.name])
        elif job.name.startswith("gaussian.") and job.stage == "infer":
            put_samples(project, job)
        elif job.name.startswith("gaussian.") and job.stage == "train":
            put(project, job, FACTS["gaussian.main.s0"])
    text = render(project)
    assert cells(text, "TARFlow")[2] == "22.0"  # one seed on either side can't tell
    assert "- **Seeds**: 1 (one run each, so no spread is given)" in text


def test_null_has_a_reason(project: Path) -> None:
    text = render(project)
    assert cells(text, r"Gaussian & 100 % \_simple\_ #1")[4] == "—¹"
    assert "\n¹ No value: the samples were drawn without a class.\n" in text
    assert cells(text, "TARFlow")[5] == "10.6 ± 0.6 (n=2/3)²"


def test_what_a_training_warned_of_stands_under_the_table(project: Path) -> None:
    assert "Warnings" not in render(project)
    job = plan_of(project).job("tarflow.main.s1")
    warned = replace(FACTS[job.name], warnings=["30% of *what* is decoded"])
    put(project, job, warned)
    assert (
        "## Warnings of the trainings\n\n- **TARFlow**\n  - tarflow.main.s1: 30% of \\*what\\* is decoded\n"
    ) in render(project)
    tex = (project / "results/t.tex").read_text(encoding="utf-8")
    assert r"\textit{Warnings of the trainings of TARFlow}: tarflow.main.s1: 30\% of {*}what{*} is decoded.\par" in tex


def test_missing_result_is_named(project: Path) -> None:
    drop(project, "tarflow.s1.unguided.small")
    with pytest.raises(
        PlanError, match=r"table 't': 1 result is not there yet: evaluate tarflow\.s1\.unguided\.small "
    ):
        render(project)
    assert not (project / "results/t.md").exists()


def test_partial(project: Path) -> None:
    drop(project, "tarflow.s1.unguided.small")
    assert cells(render(project, partial=True), "TARFlow")[2] == "22.0 ± 2.8 (n=2/3)"
    plan = plan_of(project)
    assert render_reason(plan.product("t")) == "rendered without tarflow.s1.unguided.small"
    put_metrics(project, plan.job("tarflow.s1.unguided.small"), METRICS["tarflow.s1.unguided.small"])
    assert cells(render(project), "TARFlow")[2] == "**22.0** ± 2.0"
    assert render_reason(plan.product("t")) == ""


def test_partial_without_any_result(project: Path) -> None:
    shutil.rmtree(project / "results/store")
    text = render(project, partial=True)
    assert cells(text, "TARFlow") == ["—", "—", "— (n=0/3)", "— (n=0/3)", "— (n=0/3)", "— (n=0/3)"]
    assert "FID-1.5k" in text


def test_count_of_the_heading_is_what_was_measured(project: Path) -> None:
    for job in plan_of(project).jobs.values():
        if job.stage == "evaluate":
            put_metrics(project, job, METRICS[job.name], count=128)
    text = render(project)
    assert "FID-128 ↓" in text
    assert "FID-1.5k" not in text


def test_a_row_of_another_count_is_footnoted(project: Path) -> None:
    put_metrics(
        project,
        plan_of(project).job("gaussian.s0.unguided.small"),
        {"fid": 9.0, "is": 2.0, "class_accuracy": 1.0},
        1234,
    )
    text = render(project)
    assert cells(text, r"Gaussian & 100 % \_simple\_ #1")[2] == "**9.0**¹"
    assert "¹ Measured on 1,234 samples." in text
    assert "FID-1.5k" in text


def test_none_of_equals_is_best(project: Path) -> None:
    plan = plan_of(project)
    rows = collect(plan.product("t")).measured.rows
    best = [[cell.best for cell in row.cells] for row in rows]
    # FID is the flow's; the scores are equal as printed; one accuracy alone and one guided row are no contest.
    assert best == [[False] * 6, [False, False, True, False, False, False]]


@pytest.mark.fault("manifests")
def test_a_changed_number_is_refused(project: Path) -> None:
    file = project / plan_of(project).job("gaussian.s0.unguided.small").folder / "metrics.json"
    file.write_text(file.read_text().replace("40.26", "10.26"))
    with pytest.raises(ArtifactError, match=r"its manifest says .* \(corrupt: delete"):
        render(project)


@pytest.mark.fault("manifests")
def test_a_result_of_another_job_is_refused(project: Path) -> None:
    plan = plan_of(project)
    ours, other = (project / plan.job(f"tarflow.s{seed}.unguided.small").folder for seed in (0, 1))
    shutil.rmtree(ours)
    shutil.copytree(other, ours)
    with pytest.raises(ArtifactError, match="not made by this job: delete it"):
        render(project)


# -- published -------------------------------------------------------------------------------------------------------


def test_published_rows_stand_apart(project: Path) -> None:
    plan = plan_of(project)
    table = collect(plan.product("t"))
    (block,) = table.published
    assert [row.label for row in table.measured.rows] == ["Gaussian & 100 % _simple_ #1", "TARFlow"]
    assert [(row.label, row.source) for row in block.rows] == [("Ours", "Table 1"), ("Ours, smaller", "Table 2")]
    assert (block.source, block.protocol) == ("A paper of ours, Table 1", "ImageNet 256×256, 50,000 samples")
    # Without our count, our guidance, and the column that no entry fills; 2.5 as it is printed.
    assert [column.heading for column in block.columns] == ["Parameters", "Epochs", "FID", "IS", "FID"]
    assert [group.heading for group in block.groups] == ["", "Without guidance", "With guidance"]
    assert [cell.text for cell in block.rows[0].cells] == ["1.4B", "160", "13.72", "105.2", "2.50"]


def test_second_hand_numbers_are_refused(project: Path) -> None:
    edit(project, "tables/t", "[ours, smaller]", "[ours, theirs]")
    with pytest.raises(SpecError, match="entry 'theirs' is quoted second-hand by its source"):
        plan_of(project).product("t")
