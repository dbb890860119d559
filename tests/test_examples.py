"""The examples run on a finished project, and the notebooks are made of them."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pandas
import pytest
from PIL import Image
from projects import REPOSITORY, copy_project

EXAMPLES = REPOSITORY / "examples"
NAMES = {
    '"tarflow-mnist5k"': '"tarflow"',
    '"mimflow-mnist5k"': '"tarflow"',
    '"mnist5k-2k"': '"digits-200"',
    '"mnist5k"': '"digits"',
    "COUNT = 2000": "COUNT = 200",
}
"""What the examples name, and what takes its place in a tiny project."""


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = copy_project(finished, tmp_path / "project")
    monkeypatch.chdir(project)
    return project


def run(example: str, project: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What an example prints, which also leaves its pictures in the project."""
    text = (EXAMPLES / f"{example}.py").read_text(encoding="utf-8")
    for name, instead in NAMES.items():
        text = text.replace(name, instead)
    script = project / f"{example}.py"
    script.write_text(text, encoding="utf-8")
    matplotlib.use("Agg")
    runpy.run_path(str(script))
    matplotlib.pyplot.close("all")
    return capsys.readouterr().out


def shows_something(picture: Path) -> bool:
    return bool(np.asarray(Image.open(picture).convert("L")).std() > 10)


def test_notebooks_are_the_scripts() -> None:
    pytest.importorskip("jupytext")
    made = runpy.run_path(str(EXAMPLES / "notebooks/make.py"))["notebooks"]()
    there = {file.name: file.read_text(encoding="utf-8") for file in (EXAMPLES / "notebooks").glob("*.ipynb")}
    assert there == made, "python examples/notebooks/make.py"
    assert len(there) == len(list(EXAMPLES.glob("*.py"))) == 5


def test_examples_use_public_names_alone() -> None:
    import mimflow

    for script in EXAMPLES.glob("*.py"):
        text = script.read_text(encoding="utf-8")
        assert re.findall(r"^(?:from|import) mimflow\S*", text, re.MULTILINE) == ["import mimflow"], script.name
        assert set(re.findall(r"\bmimflow\.(\w+)\(", text)) <= set(mimflow.__all__), script.name


@pytest.mark.slow
def test_sample_and_look(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("sample_and_look", project, capsys)
    assert "TrainedSystem(tokenizer=pixel, prior=tarflow" in told and "outputs: unguided, guided" in told
    assert shows_something(project / "samples.png")


@pytest.mark.slow
def test_an_inverted_digit_is_the_least_likely(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("likelihoods", project, capsys)
    found = re.findall(r"^(\S+) +([\d.-]+) bits a dimension, likeliest class \d$", told, re.MULTILINE)
    assert len(found) == 14 and found[-1][0] == "inverted.png"
    assert [float(bits) for _, bits in found] == sorted(float(bits) for _, bits in found)
    assert shows_something(project / "likelihoods.png")


@pytest.mark.slow
def test_a_figure_of_results(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("figure_of_results", project, capsys)
    assert "Gaussian per class" in told and "digits-200" in told
    assert shows_something(project / "fid.png")
    assert (project / "fid.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_prior_of_ones_own(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("prior_of_ones_own", project, capsys)
    assert re.search(r"^nats an image: flow -?[\d.]+, mixture of 20 -?[\d.]+$", told, re.MULTILINE)
    assert shows_something(project / "mixture.png")


@pytest.mark.slow
def test_blurred_images_are_further_from_real_ones(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("evaluate_samples", project, capsys)
    lines = [line.split() for line in told.splitlines() if line.split()[:1] in (["fid"], ["class_accuracy"])]
    found = pandas.DataFrame(lines, columns=["metric", "blurred", "real"]).set_index("metric").astype(float)
    assert found.loc["fid", "real"] < found.loc["fid", "blurred"]
    assert found.loc["class_accuracy", "real"] > found.loc["class_accuracy", "blurred"]
    shutil.rmtree(project / "results/store/checkpoints")
    assert run("evaluate_samples", project, capsys) == told, "what was measured once is not measured again"
