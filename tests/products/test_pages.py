"""The page of a run: a target of its own, whether a table names the run or not."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import cli, command, copy_project, edit, new_project

from mimflow.errors import PlanError
from mimflow.plan.paths import product_name
from mimflow.products.page.product import default_protocol
from mimflow.products.registry import open_plan, open_workspace


@pytest.fixture(scope="module")
def paged(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with the pages of a flow and of the classifier."""
    project = copy_project(finished, tmp_path_factory.mktemp("pages") / "project")
    for run in ("tarflow", "classifier"):
        cli(project, "render", f"runs/{run}")
    return project


@pytest.mark.slow
def test_the_numbers_of_a_page_are_those_of_the_table(paged: Path) -> None:
    text = (paged / "results/runs/tarflow.md").read_text(encoding="utf-8")
    rows = list(csv.DictReader((paged / "results/table1.csv").open(encoding="utf-8")))
    fids = {row["output"]: float(row["value"]) for row in rows if row["run"] == "tarflow" and row["metric"] == "fid"}
    found = re.findall(r"\| FID-200 ↓ \| +([\d.]+) \|", text)
    assert found == [f"{fids['unguided']:.1f}", f"{fids['guided']:.1f}"]


@pytest.mark.slow
def test_a_page_shows_spec_training_and_provenance(paged: Path) -> None:
    text = (paged / "results/runs/tarflow.md").read_text(encoding="utf-8")
    assert "Run `tarflow` on data set `digits`, measured under protocol `digits-200`" in text
    assert re.search(r"^  width: 32 +# specs/mini/tarflow\.yaml:4$", text, re.MULTILINE)
    assert "60 steps" in text and "main.s0" in text
    assert re.search(r"^- \*\*On the validation split\*\*: loss -?[\d.]+, nll -?[\d.]+, ", text, re.MULTILINE)
    assert "\n- **Health**: sound" in text
    assert "checkpoint  results/store/checkpoints/" in text
    curves = np.asarray(Image.open(paged / "results/runs/tarflow.curves.png").convert("L"))
    assert curves.min() < 50 < 250 < curves.max()


@pytest.mark.slow
def test_a_run_without_outputs_has_a_page_of_its_training(paged: Path) -> None:
    text = (paged / "results/runs/classifier.md").read_text(encoding="utf-8")
    assert "## Numbers" not in text and "## Pictures" not in text
    assert re.search(r"^- \*\*On the validation split\*\*: .*accuracy [\d.]+", text, re.MULTILINE)


@pytest.mark.slow
def test_a_page_is_new_when_what_it_shows_is(paged: Path, tmp_path: Path) -> None:
    project = copy_project(paged, tmp_path / "project")
    edit(project, "mini/tarflow", "label: TARFlow", "label: Another")
    pages = ("results/runs/tarflow.md", "results/runs/classifier.md")
    said = command(project, "snakemake", "--cores", "1", *pages).stdout
    assert re.findall(r"^Job \d+: render page (\S+)$", said, re.MULTILINE) == ["runs/tarflow"], said
    assert (project / "results/runs/tarflow.md").read_text(encoding="utf-8").startswith("# Another\n")


def test_results_of_pages_are_not_collected(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    edit(project, "tables/table1", "{run: gaussian}, {run: tarflow}", "{run: gaussian}")
    edit(project, "tables/table1", "  - guided.fid\n", "")
    plan = open_plan(project)
    before = set(plan.jobs)
    plan.plan_everything()
    assert {job.name for id, job in plan.jobs.items() if id not in before} == {
        "tarflow.s0.unguided",
        "tarflow.s0.guided",
        "tarflow.s0.unguided.digits-200",
        "tarflow.s0.guided.digits-200",
    }


def test_the_protocol_is_the_only_one_of_the_data_set_or_the_one_that_says_so(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    assert default_protocol(open_workspace(project), "digits") == "digits-200"
    first = project / "specs/protocols/digits-200.yaml"
    other = first.with_name("other.yaml")
    other.write_text(first.read_text(encoding="utf-8"), encoding="utf-8")
    assert default_protocol(open_workspace(project), "digits") is None
    other.write_text("by_default: true\n" + first.read_text(encoding="utf-8"), encoding="utf-8")
    assert default_protocol(open_workspace(project), "digits") == "other"
    assert default_protocol(open_workspace(project), "mnist5k") is None


def test_a_page_of_no_run_is_refused_with_the_nearest(tmp_path: Path) -> None:
    plan = open_plan(new_project(tmp_path / "project"))
    with pytest.raises(PlanError, match=r"no run named 'tarflo' \(did you mean 'tarflow'\?\)"):
        plan.product("results/runs/tarflo.md")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("table1", "table1"),
        ("results/table1.md", "table1"),
        ("results/runs/tarflow.curves.png", "runs/tarflow"),
        ("runs/tarflow", "runs/tarflow"),
    ],
)
def test_files_of_products_name_them(target: str, name: str) -> None:
    assert product_name(target) == name
