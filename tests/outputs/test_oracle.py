"""The oracle: data through encoder, noise and decoder, in the place of samples."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from artifacts import data_facts, store_artifact

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.samples import read_samples
from mimflow.compute.spec import Compute
from mimflow.contents.registry import CONTENTS
from mimflow.outputs.drawing import Samples
from mimflow.outputs.oracle.output import Oracle
from mimflow.outputs.oracle.spec import OracleSpec
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.progress import Progress
from mimflow.spec.noise import AdditiveNoise, NoNoise
from mimflow.stages import infer
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tasks import InferTask
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.weights.tensors import save_state

SHAPES = Shapes(channels=1, size=8, num_classes=3)
SYSTEM = System(tokenizer=PixelTokenizerSpec(patch_size=4), prior=ClassGaussianSpec())
IMAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8, 1), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "data").mkdir()
    for split in ("train", "val"):
        np.save(folder / "data" / f"{split}.images.npy", IMAGES)
        np.save(folder / "data" / f"{split}.labels.npy", LABELS)
    facts = data_facts("012", train=12, val=12)
    data = store_artifact(folder / "data", stage="prepare", name="tiny", facts=facts)
    save_state(SystemModules(SYSTEM, SHAPES).state_dict(), folder / "weights" / "weights.safetensors")
    return {"data": data, "weights": store_artifact(folder / "weights", stage="train", name="tiny.main.s0")}


def drawn(inputs: dict[str, Artifact], work: Path, spec: OracleSpec, count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    task = InferTask(
        shapes=SHAPES,
        system=SYSTEM,
        output=spec,
        samples=Samples(count=count, batch_size=7),
        seed=0,
        compute=Compute(device="cpu"),
    )
    infer.run(task, inputs, work, Progress("infer", stream=io.StringIO()))
    return read_samples(work / "out" / "samples.npz")


def test_without_noise_it_gives_the_data_as_many_of_each_class_as_samples_have(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    """Pixels are their own latents. Six images of class 0 and three of each other for ten each: each once before again."""
    images, labels = drawn(inputs, tmp_path, OracleSpec(ema=False, noise=NoNoise()))
    assert np.bincount(labels).tolist() == [10, 10, 10]
    places = [int(np.flatnonzero((image == IMAGES).all((1, 2, 3)))[0]) for image in images]
    assert (LABELS[places] == labels).all()
    used = np.bincount(places, minlength=12)
    assert sorted(used[LABELS == 0]) == [1, 1, 2, 2, 2, 2]
    assert sorted(used[LABELS == 1]) == sorted(used[LABELS == 2]) == [3, 3, 4]


def test_noise_is_what_the_spec_says_and_differs_where_an_image_returns(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    plain, _ = drawn(inputs, tmp_path / "plain", OracleSpec(ema=False, noise=NoNoise()), count=300)
    noisy, _ = drawn(inputs, tmp_path / "noisy", OracleSpec(ema=False, noise=AdditiveNoise(std=0.1)), count=300)
    assert len(np.unique(plain, axis=0)) == 12
    assert len(np.unique(noisy, axis=0)) == 300
    middle = (plain > 64) & (plain < 192)  # far from where pixels are clamped
    difference = (noisy.astype(float) - plain)[middle] / 127.5
    assert difference.std() == pytest.approx(0.1, rel=0.03)


def test_it_is_measured_as_samples_are_and_headed_as_what_it_is() -> None:
    spec = OracleSpec(noise=NoNoise())
    content = CONTENTS[spec.content]
    assert content.name == "samples"
    assert content.heading("oracle", [spec, spec]) == "Oracle"
    assert Oracle(spec).spec is spec
