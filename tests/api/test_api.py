"""mimflow in Python: what `load`, `results` and `compose` give, and what they say of mistakes."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import copy_project, new_project, result_of
from sklearn.datasets import load_digits

import mimflow
from mimflow.artifacts.manifest import Artifact, read_manifest
from mimflow.artifacts.samples import read_samples
from mimflow.data.prepared import Prepared
from mimflow.errors import ArtifactError, DeviceError, PlanError, SpecError

pytestmark = pytest.mark.slow


@pytest.fixture
def project(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished project as the working folder."""
    monkeypatch.chdir(finished)
    return finished


@pytest.fixture
def images(finished: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    split = Prepared.open(Artifact.open(result_of(finished, "data", "digits"))).split("val")
    return split.images, split.labels


def test_the_package_offers_names_and_imports_nothing_before_they_are_asked_for() -> None:
    code = "import mimflow, sys; print(mimflow.__all__, 'torch' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = "['TrainedSystem', 'compose', 'evaluate', 'images', 'load', 'results']"
    assert done.stdout.strip() == f"{names} False False"
    assert dir(mimflow) == ["TrainedSystem", "__version__", "compose", "evaluate", "images", "load", "results"]
    with pytest.raises(AttributeError, match="module 'mimflow' has no attribute 'lod'"):
        mimflow.lod  # noqa: B018


@pytest.mark.parametrize("output", ["unguided", "guided"])
def test_samples_are_those_of_the_table(project: Path, output: str) -> None:
    stored, labels = read_samples(result_of(project, "outputs", f"tarflow.s0.{output}") / "samples.npz")
    system = mimflow.load("tarflow")
    assert np.array_equal(system.sample(labels[:50], output=output), stored[:50])
    assert np.array_equal(system.sample(labels[20:50], output=output, first=20), stored[20:50])


def test_a_system_is_found_from_a_folder_below_and_opened_by_the_folder_of_its_artifact(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "specs" / "mini")
    named = mimflow.load("tarflow", seed=0)
    opened = mimflow.load(result_of(project, "checkpoints", "tarflow.main.s0"))
    sampler = {"kind": "inverse", "guidance": {"kind": "linear", "weight": 2.0}}
    assert np.array_equal(named.sample([1, 2, 3], output=sampler), opened.sample([1, 2, 3], output=sampler))
    assert repr(opened) == "TrainedSystem(tokenizer=pixel, prior=tarflow, images=8×8×1, classes=10)"


def test_a_device_is_one_that_pytorch_finds(project: Path) -> None:
    assert mimflow.load("gaussian", device=torch.device("cpu")).device.type == "cpu"
    for device in ("gpu", "cuda:99"):
        with pytest.raises(DeviceError, match=rf"^device '{device}': .* \(auto, cpu, cuda, or another that PyTorch"):
            mimflow.load("gaussian", device=device)


def test_guidance_takes_the_weight_that_is_given(project: Path) -> None:
    system = mimflow.load("tarflow")
    drawn = {weight: system.sample([7] * 8, guidance=weight) for weight in (1.0, 3.0)}
    assert np.array_equal(drawn[1.0], system.sample([7] * 8, output="guided"))
    assert not np.array_equal(drawn[1.0], drawn[3.0])
    with pytest.raises(SpecError, match="the sampler is not guided"):
        system.sample([7], output="unguided", guidance=2.0)


def test_images_pass_to_latents_and_back(project: Path, images: tuple[np.ndarray, np.ndarray]) -> None:
    system = mimflow.load("tarflow")
    latents = system.encode(images[0])
    assert latents.shape == (len(images[0]), 16, 4)
    assert np.array_equal(system.pixels(system.decode(latents)), images[0])
    planes = torch.from_numpy(images[0].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(system.encode(planes), latents)


def test_densities_are_those_that_training_reports(project: Path, images: tuple[np.ndarray, np.ndarray]) -> None:
    system = mimflow.load("gaussian")
    found = system.log_prob(*images)
    facts = read_manifest(result_of(project, "checkpoints", "gaussian.main.s0") / "manifest.json").facts
    dimensions = 64
    reported = -dimensions * (facts["val"]["nll"] + 0.5 * np.log(2 * np.pi))
    assert found.mean().item() == pytest.approx(reported, rel=1e-5)
    assert (system.log_prob(images[0], (images[1] + 1) % 10) < found).float().mean() > 0.9


def test_results_are_the_tables_numbers(project: Path) -> None:
    frame = mimflow.results("table1")
    rows = list(csv.DictReader((project / "results/table1.csv").open(encoding="utf-8")))
    assert list(frame.columns) == list(rows[0])
    assert frame["value"].tolist() == [float(row["value"]) for row in rows]
    assert set(frame["n"]) == {1}


def test_images_are_those_that_are_trained_on(
    project: Path, images: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    for found, expected in zip(mimflow.images("digits"), images, strict=True):
        assert np.array_equal(found, expected)
    digits = load_digits()
    pixels, labels = mimflow.images("digits", "train")
    assert len(pixels) == 1797 - 297 and np.bincount(labels).sum() == 1500
    one = np.round(digits.images[0] * 255 / 16).astype(np.uint8)
    assert any(
        np.array_equal(image[..., 0], one) for split in ("train", "val") for image in mimflow.images("digits", split)[0]
    )
    with pytest.raises(PlanError, match=r"no dataset named 'digit' \(did you mean 'digits'"):
        mimflow.images("digit")
    with pytest.raises(ValueError, match="no split 'test': train and val"):
        mimflow.images("digits", "test")
    with pytest.raises(ArtifactError, match=r"data set 'digits' is not prepared \(mimflow prepare digits\)"):
        mimflow.images("digits", project=new_project(tmp_path / "new"))


def test_samples_of_the_store_are_evaluated_as_the_table_was(project: Path, tmp_path: Path) -> None:
    other = copy_project(project, tmp_path / "project")
    samples, labels = read_samples(result_of(other, "outputs", "tarflow.s0.guided") / "samples.npz")
    frame = mimflow.evaluate(samples, "digits-200", labels=labels, project=other)
    table = mimflow.results("table1", project=other)
    guided = table[(table["run"] == "tarflow") & (table["output"] == "guided")].set_index("metric")["value"]
    measured = frame.set_index("metric")["value"]
    assert measured["fid"] == guided["fid"]
    assert set(frame["count"]) == {200} and set(frame["protocol"]) == {"digits-200"}
    file = tmp_path / "theirs.npz"
    np.savez(file, samples)
    again = mimflow.evaluate(file, "digits-200", labels=labels.tolist(), project=other)
    assert again["value"].tolist() == frame["value"].tolist()
    with pytest.raises(ArtifactError, match=r"100 images, the protocol measures 200"):
        mimflow.evaluate(samples[:100], "digits-200", labels=labels[:100], project=other)
    with pytest.raises(PlanError, match=r"no protocol named 'digits-20' \(did you mean 'digits-200'"):
        mimflow.evaluate(samples, "digits-20", project=other)


def test_compose_puts_values_into_a_run(project: Path) -> None:
    spec = mimflow.compose("tarflow", {"prior.width": 64, "phases.main.optimizer.lr": 1e-3})
    assert spec.prior is not None
    assert (spec.prior.width, spec.phases["main"].optimizer.lr) == (64, 1e-3)  # type: ignore[attr-defined, union-attr]
    with pytest.raises(SpecError, match=r"^overrides:1:1: prior\.widht: "):
        mimflow.compose("tarflow", {"prior.widht": 64})
    with pytest.raises(PlanError, match="no run named 'tarflo' "):
        mimflow.compose("tarflo")


def test_mistakes_are_a_line(project: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"run 'tarflow' has no seed 3 \(its seeds: 0\)"):
        mimflow.load("tarflow", seed=3)
    with pytest.raises(ArtifactError, match="a result of prepare, which holds no weights of a system"):
        mimflow.load(result_of(project, "data", "digits"))
    with pytest.raises(ArtifactError, match=r"not trained with seed 0 \(snakemake --cores all results/runs/tarflow.md"):
        mimflow.load("tarflow", project=new_project(tmp_path / "new"))
    system = mimflow.load("tarflow")
    with pytest.raises(SpecError, match=r"there is no output 'guidet' \(did you mean 'guided'"):
        system.sample([1], output="guidet")
    with pytest.raises(ValueError, match="class 10: classes are 0 to 9"):
        system.sample([10])
    with pytest.raises(ValueError, match=r"images of type uint8 and shape \(2, 1, 8, 8\): uint8 \(N, 8, 8, 1\)"):
        system.encode(np.zeros((2, 1, 8, 8), np.uint8))
    with pytest.raises(SpecError, match="no noise levels"):
        system.log_prob(np.zeros((1, 8, 8, 1), np.uint8), [0], level=0.1)
    with pytest.raises(SpecError, match=r"the system has no tokenizer \(classifier is what it has\)"):
        mimflow.load("classifier").encode(np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(PlanError, match="run mimflow in a project"):
        mimflow.load("tarflow", project=tmp_path)


def test_a_run_without_training_is_given_its_weights(project: Path, tmp_path: Path) -> None:
    other = new_project(tmp_path / "project")
    weights = result_of(project, "checkpoints", "tarflow.main.s0") / "ema.safetensors"
    spec = "extends: tarflow.yaml\nphases: {{main: null}}\nweights: [{{file: {}, sha256: '{}'}}]\n"
    text = spec.format(weights, hashlib.sha256(weights.read_bytes()).hexdigest())
    (other / "specs/mini/given.yaml").write_text(text, encoding="utf-8")
    given = mimflow.load("given", project=other)
    assert np.array_equal(given.sample([4] * 3), mimflow.load("tarflow").sample([4] * 3))
