"""Sweeps in tables: the point that a row shows, how it was picked, and the curve."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from artifacts import train_facts
from tables_project import (
    FACTS,
    PROTOCOL,
    cells,
    edit,
    make_project,
    plan_of,
    put,
    put_metrics,
    put_samples,
    put_weights,
    render,
    write,
)

from mimflow.plan.jobs import Job
from mimflow.products.registry import open_workspace
from mimflow.products.render import render_product
from mimflow.products.table.why import why

pytestmark = pytest.mark.slow

FID = {"0-0": (20.0, 22.0, 24.0), "1-5": (10.0, 11.0, 12.0), "4-0": (9.0, 14.0, 19.0)}
"""Hand-made, by point and seed: the means are 22, 11 and 14."""
PICKED = "  - {output: guided, metrics: [fid, is], pick: {metric: fid}}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    edit(tmp_path, "mini/tarflow", "weight: 3.0", "weight: {sweep: [0.0, 1.5, 4.0]}")
    edit(tmp_path, "tables/t", "  - guided.fid", PICKED)
    return tmp_path


def fill(root: Path, fid: dict[str, tuple[float, ...]] = FID, first_seed: int = 0) -> None:
    """Results of the points, wherever there are none yet."""
    for job in plan_of(root).jobs.values():
        if job.done(root):
            continue
        if job.stage == "evaluate":
            put_metrics(root, job, _values(job, fid, first_seed))
        elif job.stage == "infer":
            put_samples(root, job)
        elif job.name in FACTS:
            put_weights(root, job)
        else:
            folder = root / job.folder
            folder.mkdir(parents=True)
            for name in ("weights", "ema"):
                (folder / f"{name}.safetensors").write_bytes(job.name.encode())
            put(root, job, train_facts())


def _values(job: Job, fid: dict[str, tuple[float, ...]], first_seed: int) -> dict[str, float | str]:
    _, seed, output, _ = job.name.split(".")
    point = output.removeprefix("guided-weight-")
    found = fid[point][int(seed.removeprefix("s")) - first_seed]
    return {"fid": found, "is": 3.0, "class_accuracy": 0.9}


def problems(root: Path) -> list[str]:
    return open_workspace(root).problems


def lines_of(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / "results/t.csv").read_text(encoding="utf-8").splitlines()))


def test_a_row_shows_the_best_point_and_says_how_it_was_picked(project: Path) -> None:
    assert problems(project) == []
    fill(project)
    text = render(project)
    assert cells(text, "TARFlow")[-2:] == ["11.0 ± 1.0²", "3.00 ± 0.00²"]
    assert "\n² Weight 1.5, the best of 3 by FID, picked on the numbers that are shown.\n" in text
    assert "guided, best of 3 by FID" in text
    assert (
        "- **Sweep guided**: FID at weight 0: 22.0 ± 2.0; weight 1.5: 11.0 ± 1.0; weight 4: 14.0 ± 5.0; "
        "picked on the numbers that are shown\n"
    ) in text
    assert "also with weight 1.5; weight 4\n" in text
    assert cells(text, r"Gaussian & 100 % \_simple\_ #1")[-2:] == ["—", "—"]


def test_every_point_is_in_the_csv_at_full_precision(project: Path) -> None:
    fill(project)
    render(project)
    fids = [line for line in lines_of(project) if line["metric"] == "fid" and line["output"].startswith("guided")]
    assert [(line["output"], line["value"], line["point"]) for line in fids if line["run"]] == [
        ("guided", "11.0", "weight 1.5, the best of 3 by FID, picked on the numbers that are shown"),
        ("guided-weight-0-0", "22.0", "weight 0"),
        ("guided-weight-1-5", "11.0", "weight 1.5"),
        ("guided-weight-4-0", "14.0", "weight 4"),
    ]
    assert all(line["n"] == "3" and line["count"] == "1500" and line["key"] for line in fids if line["run"])


def test_a_pick_on_another_seed_is_said_and_may_choose_otherwise(project: Path) -> None:
    edit(project, "tables/t", "pick: {metric: fid}", "pick: {metric: fid, seeds: [0]}")
    fill(project)
    text = render(project)
    assert cells(text, "TARFlow")[-2] == "14.0 ± 5.0²"
    assert "² Weight 4, the best of 3 by FID, picked on seeds: 0.\n" in text
    edit(project, "tables/t", "seeds: [0]}", "seeds: [7]}")
    fill(project, {point: (value,) for point, value in zip(FID, (1.0, 2.0, 3.0), strict=True)}, first_seed=7)
    text = render(project)
    assert cells(text, "TARFlow")[-2] == "22.0 ± 2.0²"
    assert "² Weight 0, the best of 3 by FID, picked on other seeds: 7.\n" in text
    lines = [line for line in lines_of(project) if line["n"] == "1" and line["output"].startswith("guided-")]
    assert [(line["point"], line["value"]) for line in lines] == [
        ("weight 0", "1.0"),
        ("weight 1.5", "2.0"),
        ("weight 4", "3.0"),
    ]


def test_a_pick_on_a_validation_reference_shares_the_samples(project: Path) -> None:
    write(project, "protocols/valid", PROTOCOL.replace("extractor:", "reference: {split: val}\nextractor:"))
    fill(project)
    before = {job.id for job in plan_of(project).jobs.values() if job.stage == "infer"}
    edit(project, "tables/t", "pick: {metric: fid}", "pick: {metric: class_accuracy, protocol: valid}")
    assert problems(project) == []
    assert {job.id for job in plan_of(project).jobs.values() if job.stage == "infer"} == before
    fill(project)
    assert "the best of 3 by Accuracy, picked under protocol valid on seeds: 0, 1, 2." in render(project)


def test_a_point_without_a_value_is_left_out_and_counted(project: Path) -> None:
    fill(project)
    job = plan_of(project).job("tarflow.s1.guided-weight-1-5.small")
    put_metrics(project, job, {"fid": "features are not finite", "is": 1.0, "class_accuracy": 0.1})
    text = render(project)
    assert "Weight 4, the best of 2 (1 more without a value) by FID" in text
    assert "weight 1.5: —; weight 4: 14.0 ± 5.0" in text


def test_a_table_of_nothing_measured_yet_shows_no_point(project: Path) -> None:
    text = render(project, partial=True)
    assert cells(text, "TARFlow")[-2:] == ["—", "—"]
    assert "no point of the sweep 'guided' is measured yet" in why(
        plan_of(project).product("t"), "tarflow", "guided.fid"
    )


def test_why_names_the_point(project: Path) -> None:
    fill(project)
    text = why(plan_of(project).product("t"), "tarflow", "guided.fid")
    assert "  picked      weight 1.5, the best of 3 by FID, picked on the numbers that are shown\n" in text
    assert "tarflow.s2.guided-weight-1-5" in text and "guided-weight-4-0" not in text


def test_a_table_names_all_jobs_of_its_sweeps(project: Path) -> None:
    edit(project, "tables/t", "pick: {metric: fid}", "pick: {metric: fid, seeds: [7]}")
    jobs = plan_of(project).product("t").jobs()
    assert {f"tarflow.s{seed}.guided-weight-{point}.small" for point in FID for seed in (0, 1, 2, 7)} <= set(jobs)
    render_product(plan_of(project).product("t"), partial=True)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            "  - guided.fid",
            "columns.3: 'guided' is a sweep of 3 points ({output: guided, pick: {metric: fid}, …}, or one of "
            "guided-weight-0-0, guided-weight-1-5, guided-weight-4-0)",
        ),
        (
            "  - {output: unguided, metrics: [kid], pick: {metric: fid}}",
            "columns.3.pick: no run of the table sweeps 'unguided' (leave it out)",
        ),
        (
            "  - {output: guided, metrics: [fid], pick: {metric: fdi}}",
            "columns.3.pick.metric: protocol 'small' reports no 'fdi' (did you mean 'fid'?)",
        ),
        (
            "  - {output: guided, metrics: [fid], pick: {metric: fid, protocol: smal}}",
            "columns.3.pick.protocol: there is no protocol 'smal' (did you mean 'small'?)",
        ),
        (
            "  - {output: guided, metrics: [fid], pick: {metric: fid}}\n"
            "  - {output: guided, metrics: [is], pick: {metric: is}}",
            "columns.3.pick: another pick of output 'guided' than later on (one of them)",
        ),
        (
            "  - {output: guided, metrics: [fid], pick: {metric: fid, seeds: [1, 1]}}",
            "columns.3.pick.seeds: a seed twice: [1, 1] (each once)",
        ),
    ],
)
def test_mistake_in_a_pick(project: Path, columns: str, expected: str) -> None:
    edit(project, "tables/t", PICKED, columns)
    assert any(line.endswith(expected) for line in problems(project)), problems(project)


def test_a_point_is_an_output_that_a_column_may_name(project: Path) -> None:
    edit(project, "tables/t", PICKED, "  - guided-weight-4-0.fid")
    assert problems(project) == []
    fill(project)
    assert cells(render(project), "TARFlow")[-1] == "14.0 ± 5.0"
    assert "point" not in lines_of(project)[0]


def test_published_numbers_are_not_called_picked(project: Path) -> None:
    fill(project)
    text = render(project)
    published = text[text.index("Published,") : text.index("## Protocol")]
    assert "guided" in published and "best of" not in published
