"""Reconstructions: the output of a split's images, and the metrics that compare them with their originals."""

from __future__ import annotations

import io
import json
import math
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import data_facts, store_artifact, train_facts
from measuring import context_of, measure, reference_of, value
from PIL import Image

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.samples import read_samples
from mimflow.classifiers.convnet.spec import ConvnetSpec
from mimflow.compute.spec import Compute
from mimflow.errors import NotFiniteError
from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.metrics.reference.spec import SplitReferenceSpec
from mimflow.metrics.spec import ClassAccuracySpec, FidSpec, PsnrSpec, SsimSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.reconstruction.spec import ReconstructionSpec
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.products.table.picture import read_strip
from mimflow.progress import Progress
from mimflow.spec.noise import AdditiveNoise
from mimflow.spec.weights import RunWeights
from mimflow.stages import evaluate, infer
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tasks import EvaluateTask, InferTask
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.weights.tensors import save_state

SHAPES = Shapes(channels=1, size=8, num_classes=3)
SYSTEM = System(tokenizer=PixelTokenizerSpec(patch_size=4), prior=ClassGaussianSpec())
TASK = InferTask(
    shapes=SHAPES,
    system=SYSTEM,
    output=ReconstructionSpec(ema=False),
    samples=Drawing(batch_size=7),
    seed=0,
    compute=Compute(device="cpu"),
)


def noisy(std: float) -> InferTask:
    output = ReconstructionSpec(ema=False, noise=AdditiveNoise(std=std))
    return TASK.model_copy(update={"output": output})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    (folder / "data").mkdir()
    for split, count in (("train", 12), ("val", 31)):
        images = random.integers(256, size=(count, 8, 8, 1), dtype=np.uint8)
        np.save(folder / "data" / f"{split}.images.npy", images)
        np.save(folder / "data" / f"{split}.labels.npy", random.integers(3, size=count))
    (folder / "weights").mkdir()
    save_state(SystemModules(SYSTEM, SHAPES).state_dict(), folder / "weights" / "weights.safetensors")
    return {
        "data": store_artifact(folder / "data", stage="prepare", name="noise", facts=data_facts("abc")),
        "weights": store_artifact(folder / "weights", stage="train", name="tiny.main.s0"),
    }


def split_of(inputs: dict[str, Artifact], name: str = "val") -> tuple[np.ndarray, np.ndarray]:
    folder = inputs["data"].folder
    return np.load(folder / f"{name}.images.npy"), np.load(folder / f"{name}.labels.npy")


def reconstruct(
    task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress | None = None
) -> dict[str, object]:
    return infer.run(task, inputs, work, progress or Progress("sample", stream=io.StringIO()))


# -- the output -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_image_of_the_split_in_its_order_exact_through_pixels(
    split: str, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    task = TASK.model_copy(update={"output": ReconstructionSpec(ema=False, split=split)})
    facts = reconstruct(task, inputs, tmp_path)
    images, labels = read_samples(tmp_path / "out" / "samples.npz")
    originals, classes = split_of(inputs, split)
    np.testing.assert_array_equal(images, originals)
    np.testing.assert_array_equal(labels, classes)
    assert (facts.count, facts.weights) == (len(originals), "weights.safetensors")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grid.png", "pairs.npz", "samples.npz"]


def test_noise_on_the_latents_is_that_of_the_spec_and_of_the_seed(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name, task in (
        ("first", noisy(0.2)),
        ("again", noisy(0.2)),
        ("other", noisy(0.2).model_copy(update={"seed": 1})),
    ):
        reconstruct(task, inputs, tmp_path / name)
    first, again, other = (
        read_samples(tmp_path / name / "out" / "samples.npz")[0].astype(float) for name in ("first", "again", "other")
    )
    originals = split_of(inputs)[0].astype(float)
    inner = (originals > 100) & (originals < 155)  # 4 σ from where clamping begins
    assert (first - originals)[inner].std() == pytest.approx(0.2 * 127.5, rel=0.15)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert torch.equal(state, torch.random.get_rng_state())


def test_an_interrupted_job_goes_on_and_ends_in_the_same_bytes(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    class Stopping(Progress):
        def advance(self, done: int, images: int = 0, **shown: float) -> None:
            super().advance(done, images, **shown)
            if done == 2:
                raise KeyboardInterrupt

    reconstruct(noisy(0.2), inputs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        reconstruct(noisy(0.2), inputs, tmp_path / "work", Stopping("sample", stream=io.StringIO()))
    kept = {path: path.stat().st_ino for path in (tmp_path / "work" / "images.pieces").iterdir()}
    assert len(kept) == 2
    reconstruct(noisy(0.2), inputs, tmp_path / "work")
    assert {path: path.stat().st_ino for path in kept} == kept
    for path in (tmp_path / "whole" / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "work" / "out" / path.name).read_bytes(), path.name


@pytest.mark.fault("not finite")
def test_reconstructions_that_are_not_finite_are_an_error(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match="7 of 7 images hold values that are not finite"):
        reconstruct(noisy(1e39), inputs, tmp_path)


def test_pictures_show_each_original_beside_its_reconstruction(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    reconstruct(noisy(0.3), inputs, tmp_path)
    images, _ = read_samples(tmp_path / "out" / "samples.npz")
    originals, labels = split_of(inputs)
    shown, classes = read_samples(tmp_path / "out" / "pairs.npz")
    first = [index for label in range(3) for index in np.flatnonzero(labels == label)[:4]]
    np.testing.assert_array_equal(shown[::2], originals[first])
    np.testing.assert_array_equal(shown[1::2], images[first])
    np.testing.assert_array_equal(classes, labels[np.repeat(first, 2)])

    grid = Image.open(tmp_path / "out" / "grid.png").convert("L")
    small = np.asarray(grid)[4::8, 4::8]  # 82 pixels across, each enlarged to 8
    np.testing.assert_array_equal(small[2:10, 2:10], originals[first[0], :, :, 0])
    np.testing.assert_array_equal(small[2:10, 12:20], images[first[0], :, :, 0])

    strip = read_strip(tmp_path / "out" / "pairs.npz", "")
    np.testing.assert_array_equal(strip.images[:3], originals[[first[0], first[4], first[8]]])
    np.testing.assert_array_equal(strip.images[3:6], images[[first[0], first[4], first[8]]])


# -- PSNR ------------------------------------------------------------------------------------------------------------


def grey(level: int, count: int = 1, side: int = 8) -> np.ndarray:
    return np.full((count, side, side, 1), level, np.uint8)


def test_psnr_is_the_mean_over_images_and_the_pooled_one_that_of_the_mean_error(tmp_path: Path) -> None:
    context = context_of(np.concatenate([grey(101), grey(110)]), grey(100, 2), tmp_path)
    found = measure(PsnrSpec(), context)
    assert found["psnr"].value == pytest.approx(20 * math.log10(255) - 10 * (0 + 2) / 2)
    assert found["psnr_pooled"].value == pytest.approx(20 * math.log10(255) - 10 * math.log10((1 + 100) / 2))
    assert found["psnr_pooled"].value < found["psnr"].value


def test_psnr_of_noise_is_the_expected_one(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    originals = grey(128, 60)
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "val.images.npy", originals)
    np.save(folder / "val.labels.npy", np.arange(60) % 3)
    data = store_artifact(folder, stage="prepare", name="grey")
    reconstruct(noisy(0.1), {**inputs, "data": data}, tmp_path / "work")
    images, _ = read_samples(tmp_path / "work" / "out" / "samples.npz")
    error = (0.1 * 127.5) ** 2 + 1 / 12  # of the noise in grey levels, and of rounding
    pooled = value(PsnrSpec(), context_of(images, originals, tmp_path), "psnr_pooled")
    assert pooled == pytest.approx(10 * math.log10(255**2 / error), abs=0.3)


def test_psnr_of_exact_reconstructions_has_no_value_but_a_reason(tmp_path: Path) -> None:
    found = measure(PsnrSpec(), context_of(grey(7, 3), grey(7, 3), tmp_path))
    assert {measurement.reason for measurement in found.values()} == {"every reconstruction is exact: infinite"}
    found = measure(PsnrSpec(), context_of(np.concatenate([grey(8), grey(7)]), grey(7, 2), tmp_path))
    assert found["psnr"].reason == "1 of 2 reconstructions are exact: infinite"
    assert found["psnr_pooled"].value == pytest.approx(10 * math.log10(255**2 / 0.5))


def test_psnr_in_parts_is_that_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images, originals = random.integers(256, size=(2, 10, 8, 8, 3), dtype=np.uint8)
    context = context_of(images, originals, tmp_path)
    whole = measure(PsnrSpec(), context)
    monkeypatch.setattr("mimflow.metrics.similarity.PART", 3)
    assert measure(PsnrSpec(), context) == whole


# -- SSIM ------------------------------------------------------------------------------------------------------------


def test_ssim_of_flat_images_is_the_luminance_term(tmp_path: Path) -> None:
    found = value(SsimSpec(), context_of(grey(100, 2, 16), grey(150, 2, 16), tmp_path))
    c1 = (0.01 * 255) ** 2
    assert found == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1), rel=1e-6)


def test_ssim_of_one_window_is_its_formula(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.integers(256, size=(2, 1, 11, 11, 1), dtype=np.uint8)
    steps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(steps, steps) / steps.sum() ** 2
    a, b = x[0, :, :, 0].astype(float), y[0, :, :, 0].astype(float)
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    variances = (window * a**2).sum() - mean_a**2 + (window * b**2).sum() - mean_b**2
    covariance = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    wanted = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    assert value(SsimSpec(), context_of(x, y, tmp_path)) == pytest.approx(wanted, rel=1e-6)
    assert value(SsimSpec(), context_of(x, x, tmp_path)) == pytest.approx(1)


def test_ssim_of_images_smaller_than_its_window_is_a_reason(tmp_path: Path) -> None:
    found = measure(SsimSpec(), context_of(grey(1, 2), grey(2, 2), tmp_path))
    assert found["ssim"].reason == "images of 8 pixels are smaller than its window of 11"


# -- the evaluation --------------------------------------------------------------------------------------------------

CLASSIFIER = System(classifier=ConvnetSpec(widths=[4], features=6))
EVALUATE = EvaluateTask(
    content="reconstructions",
    shapes=SHAPES,
    extractor=ClassifierExtractorSpec(weights=RunWeights(run="judge")),
    extractor_system=CLASSIFIER,
    metrics=[FidSpec(), PsnrSpec(), ClassAccuracySpec()],
    reference=SplitReferenceSpec(split="val"),
    compute=Compute(device="cpu"),
)


def test_reconstructions_are_measured_against_their_originals(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    torch.manual_seed(0)
    modules = SystemModules(CLASSIFIER, SHAPES)
    (tmp_path / "judge").mkdir()
    save_state(modules.state_dict(), tmp_path / "judge" / "weights.safetensors")
    judge = store_artifact(tmp_path / "judge", stage="train", name="judge.main.s0", facts=train_facts())
    known = reference_of(EVALUATE, {**inputs, "extractor": judge}, tmp_path / "reference")
    found = {}
    for name, task in (("exact", TASK), ("noisy", noisy(0.3))):
        reconstruct(task, inputs, tmp_path / name)
        samples = store_artifact(tmp_path / name / "out", stage="infer", name=name)
        work = tmp_path / f"{name} measured"
        progress = Progress("evaluate", stream=io.StringIO())
        with chdir(tmp_path):
            facts = evaluate.run(
                EVALUATE, {**inputs, "output": samples, "extractor": judge, "reference": known}, work, progress
            )
        assert (facts.count, facts.reference_split, facts.reference_count) == (31, "val", 31)
        found[name] = json.loads((work / "out" / "metrics.json").read_text())
    assert found["exact"]["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["exact"]["psnr"]["value"] is None
    assert found["noisy"]["fid"]["value"] > 1e-5  # an untrained network's features are small
    assert 10 < found["noisy"]["psnr"]["value"] < 20

    originals, labels = split_of(inputs)
    with torch.no_grad():
        _, logits = modules.module("classifier").eval()(torch.from_numpy(originals).permute(0, 3, 1, 2) / 127.5 - 1)
    right = float((logits.argmax(1).numpy() == labels).mean())
    assert found["exact"]["class_accuracy"]["value"] == pytest.approx(right)
