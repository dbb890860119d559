"""`mimflow curves`: curves of what is done and of what runs, in one picture, and their last values."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest
from artifacts import train_facts
from projects import new_project
from tables_project import put
from typer.testing import CliRunner

from mimflow.artifacts.log import read_growing
from mimflow.cli import app
from mimflow.errors import PlanError
from mimflow.plan import paths
from mimflow.plan.jobs import Job
from mimflow.products.asked_curves import Asked, compare_curves
from mimflow.products.curves import Curve, columns_of, draw_curves
from mimflow.products.registry import open_plan

RUNNING = """\
step,epoch,lr,loss,grad_norm,seconds,kept,val_loss
10,0.2,1e-3,2.5,4,1.5,1,
20,0.4,1e-3,1.75,3,3,1,1.875
23,0.46,1e-3,1.5,2,33,0,
"""
DONE = "step,epoch,lr,loss,accuracy,grad_norm,val_loss\n23,1,2e-3,2.25,0.25,1,\n69,3,2e-3,0.4634583,0.9375,0.5,0.625\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a classifier that is trained and a TARFlow that runs; nobody has begun with the Gaussian."""
    root = new_project(tmp_path_factory.mktemp("curves") / "project")
    plan = open_plan(root)
    done = plan.job("classifier.main.s0")
    finish(root, done)
    running = plan.job("tarflow.main.s0").id
    folder = paths.work(root, running) / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(RUNNING)
    (folder / "progress.json").write_text('{"job": "train tarflow.main.s0", "unit": "step", "done": 23, "total": 60}')
    paths.work_lock(root, running).write_text(f"process {os.getpid()} on {socket.gethostname()}")
    return root


def finish(root: Path, job: Job) -> None:
    folder = root / job.folder
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(DONE)
    put(root, job, train_facts())


def asked(root: Path, *runs: str, **changes: object) -> str:
    return compare_curves(open_plan(root), Asked(runs, **changes))  # type: ignore[arg-type]


def panels(picture: Path) -> int:
    """The panels of an SVG: matplotlib's groups of axes that have a line, or a tick, of their own."""
    groups = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}g")
    return len([group for group in groups if group.get("id", "").startswith("axes_")])


def test_what_runs_and_what_is_done_stand_in_one_table_and_picture(project: Path) -> None:
    lines = asked(project, "tarflow", "classifier", "gaussian").splitlines()
    assert lines == [
        "training            step      loss  val_loss  state",
        "tarflow.main.s0       23       1.5     1.875  running at step 23 of 60",
        "classifier.main.s0    69  0.463458     0.625  done",
        "1 not begun",
        "results/curves/tarflow+classifier+gaussian.png",
    ]
    assert (project / lines[-1]).read_bytes().startswith(b"\x89PNG")


def test_columns_and_the_picture_are_as_they_are_asked_for(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.svg"
    lines = asked(project, "tarflow", "classifier", columns=("loss", "accuracy"), over="epoch", out=out).splitlines()
    assert lines[0].split() == ["training", "step", "loss", "accuracy", "state"] and lines[-1] == str(out)
    assert lines[1].split()[:3] == ["tarflow.main.s0", "23", "1.5"], "it has no accuracy"
    assert panels(out) == 3 and "accuracy" in out.read_text() and "grad_norm" not in out.read_text()


@pytest.mark.parametrize(
    ("runs", "changes", "message"),
    [
        (["tarflw"], {}, r"no run or ablation 'tarflw' \(did you mean 'tarflow'\?\)"),
        (["gaussian"], {}, r"gaussian: no training has begun yet \(run `snakemake --cores all results/store/check"),
        (["tarflow"], {"columns": ("los",)}, r"no log has a column 'los' \(did you mean 'loss'\?\)"),
        (["tarflow"], {"phase": "tune"}, r"run 'tarflow' has no phase 'tune'"),
        (["tarflow"], {"seed": 7}, r"run 'tarflow' has no seed 7 \(its seeds are 0\)"),
        (["tarflow"], {"out": Path("a.bmp")}, r"a\.bmp: 'bmp' is no kind of picture that is drawn"),
    ],
)
def test_what_there_is_not_is_said_in_a_line(
    project: Path, runs: list[str], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        asked(project, *runs, **changes)


def test_the_command_says_the_last_values(project: Path) -> None:
    said = CliRunner().invoke(app, ["curves", "tarflow", "--columns", "grad_norm", "--project", str(project)])
    assert said.exit_code == 0
    assert said.stdout.splitlines()[1].split()[:3] == ["tarflow.main.s0", "23", "2"]


def test_a_log_that_is_cut_off_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(RUNNING + "24,0.48,1e")
    rows = read_growing(tmp_path / "log.csv")
    assert [row["step"] for row in rows] == [10, 20, 23]
    curves = [Curve("tarflow", rows), Curve("begun", [])]
    assert columns_of(curves) == ["loss", "val_loss", "lr", "grad_norm"]
    assert draw_curves(curves) == draw_curves(curves)
