"""`dvc.yaml` and `rule all`: both follow the products that say `by_default: true`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from projects import REPOSITORY
from tables_project import TABLE, make_project, plan_of, put_weights, render

from mimflow.products.dvc import drop_numbers, dvc_yaml, outdated, write_dvc
from mimflow.products.registry import open_plan
from mimflow.workflow import Workflow


def outs_of(text: str) -> list[str]:
    """The rendered files that DVC is to keep, without the folders."""
    outs = [next(iter(out)) for out in yaml.safe_load(text)["stages"]["products"]["outs"]]
    return [out for out in outs if not out.startswith("results/store/") and out != "results/plots"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two tables, of which none is made by default."""
    make_project(tmp_path)
    (tmp_path / "specs/tables/second.yaml").write_text(TABLE, encoding="utf-8")
    return tmp_path


def by_default(project: Path, *tables: str) -> None:
    for name in tables:
        path = project / f"specs/tables/{name}.yaml"
        path.write_text("by_default: true\n" + path.read_text(encoding="utf-8"), encoding="utf-8")


def test_dvc_yaml_of_this_repository_is_what_mimflow_dvc_writes() -> None:
    assert (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8") == dvc_yaml(open_plan(REPOSITORY))


@pytest.mark.parametrize("tables", [[], ["t"], ["second"], ["second", "t"]])
def test_what_is_made_by_default_is_what_its_specs_say(project: Path, tables: list[str]) -> None:
    by_default(project, *tables)
    plan = open_plan(project)
    suffixes = ("md", "tex", "csv", "html", "json", "png", "manifest.json")
    assert outs_of(dvc_yaml(plan)) == [f"results/{name}.{suffix}" for name in sorted(tables) for suffix in suffixes]
    assert Workflow(plan, main_process=False).default_targets() == [f"results/{name}.md" for name in sorted(tables)]


def test_params_are_the_specs_of_runs_and_protocols_and_plots_the_pictures_and_losses(project: Path) -> None:
    by_default(project, "t")
    written = yaml.safe_load(dvc_yaml(open_plan(project)))
    assert written["params"] == [
        *(f"specs/mini/{name}.yaml" for name in ("classifier", "gaussian", "tarflow")),
        "specs/protocols/small.yaml",
    ]
    # What is fitted in closed form has no steps, and no curve.
    seeds = {f"results/plots/t/tarflow.s{seed}.csv": "loss" for seed in range(3)}
    assert written["plots"] == [
        "results/t.png",
        {"t: loss of extractor": {"x": "step", "y": {"results/plots/t/extractor.csv": "loss"}}},
        {"t: loss of tarflow": {"x": "step", "y": seeds}},
    ]


def test_logs_of_trainings_are_rendered_at_paths_that_stay(project: Path) -> None:
    plan = plan_of(project)
    for name in ("tarflow.tune.s0", "gaussian.main.s0"):
        (project / plan.job(name).folder / "log.csv").write_text("step,loss\n1,2.5\n2,1.5\n")
        put_weights(project, plan.job(name))
    render(project)
    logs = sorted((project / "results/plots").rglob("*.csv"))
    assert [log.relative_to(project / "results/plots").as_posix() for log in logs] == ["t/tarflow.s0.csv"]
    assert logs[0].read_text() == "step,loss\n1,2.5\n2,1.5\n"


def test_numbers_of_products_that_are_no_more_go(project: Path) -> None:
    render(project)
    kept, gone = project / "results/metrics/t/tarflow.json", project / "results/metrics/second/tarflow.json"
    gone.parent.mkdir()
    shutil.copy(kept, gone)
    drop_numbers(plan_of(project))
    assert kept.is_file() and gone.is_file()
    (project / "specs/tables/second.yaml").unlink()
    broken = project / "specs/tables/third.yaml"
    broken.write_text("title: half-written\n", encoding="utf-8")
    drop_numbers(plan_of(project))
    assert gone.is_file(), "a spec that is wrong just now may be of that name"
    broken.unlink()
    drop_numbers(plan_of(project))
    assert kept.is_file() and not gone.parent.exists()


def test_a_dvc_yaml_that_is_outdated_is_found_and_one_of_the_users_own_is_left_alone(project: Path) -> None:
    by_default(project, "t")
    write_dvc(plan_of(project))
    assert not outdated(plan_of(project))
    by_default(project, "second")
    assert outdated(plan_of(project))
    (project / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    assert not outdated(plan_of(project))
