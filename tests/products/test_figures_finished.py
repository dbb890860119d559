"""Every kind of figure from a trained project: the drawn values are those of its results, and Snakemake makes them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import cli, command, copy_project, edit

from mimflow.errors import MimflowError
from mimflow.plan.freshness import render_reason
from mimflow.products.registry import open_plan
from mimflow.products.render import render_product
from mimflow.stages.runner import run_job

pytestmark = pytest.mark.slow

RUN = """\
extends: tarflow
label: More
phases: {main: {steps: 20, snapshots: [0.5]}}
outputs:
  unguided: {kind: inverse}
  guided: {kind: inverse, guidance: {kind: linear, weight: {sweep: [0, 1]}}}
  early: {kind: inverse, snapshot: {sweep: [0.5, null]}}
  reconstruction: {kind: reconstruction}
  interpolation: {kind: interpolation}
"""
PROTOCOL = """\
extends: digits-200
samples: {count: 60, batch_size: 60}
metrics: [{kind: fid}, {kind: class_accuracy}, {kind: image_spectrum}]
"""
DRAWINGS = {
    "curve": "{kind: curve, x: {sweep: guided}, y: [guided.fid, guided.class_accuracy], best: true}",
    "tradeoff": "{kind: tradeoff, x: guided.class_accuracy, y: guided.fid}",
    "bars": "{kind: bars, y: [unguided.fid, guided-weight-1.fid]}",
    "training": "{kind: training, y: [loss], x: epoch}",
    "snapshots": "{kind: snapshots, y: [early.fid]}",
    "spectrum": "{kind: spectrum, output: unguided}",
    "grid": "{kind: grid, output: unguided, classes: [1, 4], count: 3}",
    "strip": "{kind: strip, output: reconstruction, count: 4}",
    "ways": "{kind: strip, output: interpolation, count: 2}",
    "python": "{kind: python, function: 'mine.py:draw', values: [unguided.fid]}",
}
MINE = "def draw(values, figure):\n    figure.subplots().bar(values['row'], values['value'])\n"


@pytest.fixture(scope="module")
def drawn(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a run more and a figure of each kind of it, all computed and rendered."""
    root = copy_project(finished, tmp_path_factory.mktemp("figures") / "project")
    (root / "specs/figures").mkdir()
    (root / "specs/mini/more.yaml").write_text(RUN, encoding="utf-8")
    (root / "specs/protocols/digits-60.yaml").write_text(PROTOCOL, encoding="utf-8")
    (root / "mine.py").write_text(MINE, encoding="utf-8")
    for name, draw in DRAWINGS.items():
        text = f"title: The kind {name}\nprotocol: digits-60\nrows: [{{run: more}}]\ndraw: {draw}\n"
        (root / f"specs/figures/{name}.yaml").write_text(text, encoding="utf-8")
    plan = open_plan(root)
    assert plan.workspace.problems == []
    for name in DRAWINGS:
        product = plan.product(name)
        for asked in product.jobs().values():
            for job in (*asked.upstream(), asked):
                if not job.done(root):
                    run_job(plan, job)
        render_product(product)
    return root


def values_of(root: Path, name: str) -> list[dict[str, str]]:
    with (root / f"results/{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def measured(root: Path, output: str, metric: str) -> float:
    """A number as its evaluation wrote it down."""
    folder = open_plan(root).measure("more", output, "digits-60", 0).evaluate.folder
    value: float = json.loads((root / folder / "metrics.json").read_text(encoding="utf-8"))[metric]["value"]
    return value


def test_the_drawn_values_are_those_of_the_results(drawn: Path) -> None:
    curve = {(line["y_of"], line["output"]): float(line["y"]) for line in values_of(drawn, "curve")}
    assert curve == {
        (f"guided.{metric}", f"guided-weight-{weight}"): measured(drawn, f"guided-weight-{weight}", metric)
        for metric in ("fid", "class_accuracy")
        for weight in (0, 1)
    }
    assert [(float(line["x"]), float(line["y"])) for line in values_of(drawn, "tradeoff")] == [
        (
            measured(drawn, f"guided-weight-{weight}", "class_accuracy"),
            measured(drawn, f"guided-weight-{weight}", "fid"),
        )
        for weight in (0, 1)
    ]
    assert [float(line["y"]) for line in values_of(drawn, "bars")] == [
        measured(drawn, "unguided", "fid"),
        measured(drawn, "guided-weight-1", "fid"),
    ]
    assert [(line["x"], float(line["y"])) for line in values_of(drawn, "snapshots")] == [
        ("50.0", measured(drawn, "early-snapshot-0-5", "fid")),
        ("100.0", measured(drawn, "early-snapshot-none", "fid")),
    ]
    assert [float(line["value"]) for line in values_of(drawn, "python")] == [measured(drawn, "unguided", "fid")]


def test_the_drawn_log_spectrum_and_images_are_those_of_the_store(drawn: Path) -> None:
    plan = open_plan(drawn)
    with (drawn / plan.trained("more", 0)[-1].folder / "log.csv").open(encoding="utf-8", newline="") as stream:
        logged = [(float(row["epoch"]), float(row["loss"])) for row in csv.DictReader(stream) if row["loss"]]
    assert [(float(line["x"]), float(line["y"])) for line in values_of(drawn, "training")] == logged
    evaluation = plan.measure("more", "unguided", "digits-60", 0)
    curves = np.load(drawn / evaluation.evaluate.folder / "curves.npz")
    lines = [line for line in values_of(drawn, "spectrum") if line["series"] == "More"]
    assert [float(line["y"]) for line in lines] == curves["image_spectrum.values"].tolist()
    assert evaluation.infer is not None
    labels = np.load(drawn / evaluation.infer.folder / "samples.npz")["arr_1"]
    grid = [(int(line["place"]), int(line["class"])) for line in values_of(drawn, "grid")]
    assert grid == [(int(place), label) for label in (1, 4) for place in np.flatnonzero(labels == label)[:3]]


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_kind_is_a_picture_that_shows_something(drawn: Path, name: str) -> None:
    with Image.open(drawn / f"results/{name}.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] == 660 and 0.01 < (pixels < 200).mean() < 0.9
    assert (drawn / f"results/{name}.svg").stat().st_size > 2000
    assert (drawn / f"results/{name}.pdf").read_bytes().startswith(b"%PDF")


def test_snakemake_makes_a_figure_and_makes_it_again_when_it_changed(drawn: Path, tmp_path: Path) -> None:
    root = copy_project(drawn, tmp_path / "project")
    assert render_reason(open_plan(root).product("bars")) == ""
    edit(root, "figures/bars", "The kind bars", "Bars")
    text = command(root, "snakemake", "--cores", "1", "results/bars.png", "results/training.png").stdout
    assert "render figure bars" in text and "1 of 1 steps" in text
    assert render_reason(open_plan(root).product("bars")) == ""
    assert "figure bars" in cli(root, "why", "results/bars.png")
    (root / "mine.py").write_text(MINE.replace("'row'", "'raw'"), encoding="utf-8")
    with pytest.raises(MimflowError, match=r"^mine\.py:2: function of figure 'python': KeyError") as caught:
        cli(root, "render", "python")
    assert caught.value.exit_code == 2


def test_gc_leaves_what_figures_are_made_of(drawn: Path, tmp_path: Path) -> None:
    root = copy_project(drawn, tmp_path / "project")
    spectrum = open_plan(root).measure("more", "unguided", "digits-60", 0).evaluate.folder
    assert spectrum not in cli(root, "gc")
    for name in DRAWINGS:
        (root / f"specs/figures/{name}.yaml").unlink()
    assert spectrum in cli(root, "gc")
