"""The linear probe, and the representations that it reads."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import data_facts, store_artifact

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import EvaluateFacts, MetricValue
from mimflow.artifacts.representation import read_representation
from mimflow.compute.spec import Compute
from mimflow.data.pixels import to_unit
from mimflow.metrics.context import FeatureSplit, RepresentedSplits
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import LinearProbeSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.representation.spec import PriorPlace, RepresentationSpec, TokenizerPlace
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.spec import Tap
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.progress import Progress
from mimflow.stages import evaluate, infer
from mimflow.system.modules import SystemModules, load_weights
from mimflow.system.spec import Shapes, System
from mimflow.tasks import EvaluateTask, InferTask
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.weights.tensors import save_state

CLASSES = 4
PROBE = LinearProbeSpec(epochs=12, batch_size=64, eval_every=3)


def drawn(count: int, width: int, seed: int, separation: float = 0.0) -> FeatureSplit:
    """Normal features, of classes in turn, a class's mean at `separation` along an axis of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    features = torch.randn(count, width, generator=generator)
    features[:, :CLASSES] += separation * torch.eye(CLASSES)[labels]
    return FeatureSplit(features, labels)


def representation(train: FeatureSplit, val: FeatureSplit) -> RepresentedSplits:
    return RepresentedSplits(train, val, CLASSES, torch.device("cpu"))


def probe(train: FeatureSplit, val: FeatureSplit, spec: LinearProbeSpec = PROBE) -> dict[str]:
    found = METRICS.build(spec, representation(train, val))
    assert tuple(found) == spec.reports
    return found


# -- known answers ---------------------------------------------------------------------------------------------------


def test_classes_that_a_plane_parts_are_told_apart() -> None:
    found = probe(drawn(200, 8, 0, separation=12), drawn(80, 8, 1, separation=12))
    assert (found["probe_last"].value, found["probe_best"].value) == (1, 1)


def test_features_that_know_nothing_are_at_chance() -> None:
    found = probe(drawn(1200, 8, 0), drawn(1200, 8, 1))
    assert found["probe_last"].value == pytest.approx(1 / CLASSES, abs=0.06)


def test_accuracy_is_that_of_the_best_plane() -> None:
    """Two classes of equal covariance: Φ(d / 2), d the distance of their means."""
    train, val = (drawn(4000, 4, seed) for seed in (0, 1))
    for split in (train, val):
        split.labels.remainder_(2)
        split.features[:, 0] += 2.0 * split.labels
    found = probe(train, val, LinearProbeSpec(epochs=10, batch_size=500))
    wanted = torch.special.ndtr(torch.tensor(1.0)).item()
    assert found["probe_last"].value == pytest.approx(wanted, abs=0.02)


def test_scale_shift_and_constant_features_do_not_matter() -> None:
    train, val = drawn(300, 6, 0, separation=1.5), drawn(300, 6, 1, separation=1.5)
    plain = probe(train, val)["probe_last"].value

    def changed(split: FeatureSplit) -> FeatureSplit:
        features = split.features * torch.tensor([1, 100, 0.01, 5, 1, 1]) + 3
        return FeatureSplit(torch.cat([features, torch.full((len(features), 1), 7.0)], 1), split.labels)

    assert probe(changed(train), changed(val))["probe_last"].value == pytest.approx(plain, abs=0.03)
    assert 0.45 < plain < 0.9


def test_images_are_judged_by_the_statistics_of_training_not_by_their_own() -> None:
    train, val = drawn(200, 8, 0, separation=12), drawn(80, 8, 1, separation=12)
    alone = val.labels == 2
    found = probe(train, FeatureSplit(val.features[alone], val.labels[alone]))
    assert found["probe_last"].value == 1


# -- last and best ---------------------------------------------------------------------------------------------------


def overfitting() -> tuple[FeatureSplit, FeatureSplit]:
    """Few images, many features, a third of the labels wrong: the first epochs generalise best."""
    train, val = drawn(160, 80, 0, separation=4), drawn(600, 80, 1, separation=4)
    train.labels[::3] = (train.labels[::3] + 1) % CLASSES
    return train, val


@pytest.mark.slow
def test_the_best_epoch_is_chosen_on_the_validation_split() -> None:
    train, val = overfitting()
    spec = LinearProbeSpec(epochs=60, lr=0.01, batch_size=16, eval_every=1, weight_decay=0.0)
    found = probe(train, val, spec)
    assert found["probe_best"].value > found["probe_last"].value + 0.02
    # Epochs that are not evaluated can't be the best; the last always is evaluated.
    seldom = probe(train, val, spec.model_copy(update={"eval_every": 100}))
    assert seldom["probe_best"] == seldom["probe_last"] == found["probe_last"]


def test_the_rate_follows_a_cosine_to_nearly_nothing() -> None:
    train, val = overfitting()
    rates = []
    step = torch.optim.SGD.step

    def recording(self: torch.optim.SGD, closure: None = None) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", recording)
        probe(train, val, LinearProbeSpec(epochs=4, batch_size=80, lr=0.2))
    # Two steps an epoch, and one rate for both.
    assert rates == pytest.approx([0.2, 0.2, 0.17071, 0.17071, 0.1, 0.1, 0.029289, 0.029289], rel=1e-4)


# -- seeds and reasons -----------------------------------------------------------------------------------------------


def test_it_is_the_same_twice_differs_by_seed_and_leaves_the_random_state_alone() -> None:
    train, val = drawn(101, 8, 0, separation=1.0), drawn(997, 8, 1, separation=1.0)
    state = torch.random.get_rng_state()
    first = probe(train, val)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(7)
    assert probe(train, val) == first
    assert probe(train, val, PROBE.model_copy(update={"seed": 1})) != first


def test_no_batch_is_of_a_single_image() -> None:
    found = probe(drawn(65, 4, 0, separation=9), drawn(20, 4, 1, separation=9))  # 64 + 1 in batches of 64
    assert found["probe_last"].value == 1


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("train", "features of 2 of 20 training images"), ("val", "features of 2 of 10 validation images")],
)
def test_features_that_are_not_finite_are_a_reason(broken: str, reason: str) -> None:
    splits = {"train": drawn(20, 4, 0), "val": drawn(10, 4, 1)}
    splits[broken].features[[3, 5], 1] = torch.nan
    for measurement in probe(**splits).values():
        assert measurement == MetricValue(None, reason=f"{reason} are not finite")


def test_a_single_image_is_a_reason() -> None:
    for measurement in probe(drawn(1, 4, 0), drawn(10, 4, 1)).values():
        assert measurement.reason == "1 training images, at least 2 needed"


# -- representations -------------------------------------------------------------------------------------------------

SHAPES = Shapes(channels=1, size=8, num_classes=CLASSES)
SYSTEM = System(
    tokenizer=PixelTokenizerSpec(patch_size=4), prior=TarflowSpec(width=8, blocks=[1, 2], head_width=4, expansion=2)
)
LATENTS = RepresentationSpec(where=TokenizerPlace(what="latents"), ema=False)
TASK = InferTask(
    shapes=SHAPES, system=SYSTEM, output=LATENTS, samples=Drawing(batch_size=9), seed=0, compute=Compute(device="cpu")
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    (folder / "data").mkdir()
    for split, count in (("train", 40), ("val", 20)):
        labels = np.arange(count) % CLASSES
        # A class is the place of a bright corner in every patch: the mean of the patches shows it.
        images = random.integers(100, size=(count, 8, 8, 1), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[label // 2 :: 4, label % 2 :: 4] = 255
        np.save(folder / "data" / f"{split}.images.npy", images)
        np.save(folder / "data" / f"{split}.labels.npy", labels)
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    modules = SystemModules(SYSTEM, SHAPES)
    for parameter in modules.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    save_state(modules.state_dict(), folder / "weights" / "weights.safetensors")
    return {
        "data": store_artifact(folder / "data", stage="prepare", name="corners", facts=data_facts("abcd")),
        "weights": store_artifact(folder / "weights", stage="train", name="tiny.main.s0"),
    }


def represent(
    task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress | None = None
) -> dict[str, object]:
    return infer.run(task, inputs, work, progress or Progress("sample", stream=io.StringIO()))


def test_latents_are_averaged_over_tokens_of_both_splits(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    facts = represent(TASK, inputs, tmp_path)
    for split, count in (("train", 40), ("val", 20)):
        features, labels = read_representation(tmp_path / "out" / "features.npz", split)
        images = np.load(inputs["data"].folder / f"{split}.images.npy")
        wanted = to_unit(images).reshape(count, 2, 4, 2, 4).mean((1, 3)).flatten(1)
        assert (features.dtype, features.shape) == (np.float32, (count, 16))
        np.testing.assert_allclose(features, wanted, atol=1e-6)
        np.testing.assert_array_equal(labels, np.arange(count) % CLASSES)
    assert (facts.train_count, facts.val_count, facts.features) == (40, 20, 16)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["features.npz"]


def test_hidden_states_of_a_prior_are_those_without_a_class(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    tap = Tap(block=1, layer=1)
    output = RepresentationSpec(where=PriorPlace(tap=tap), ema=False)
    represent(TASK.model_copy(update={"output": output}), inputs, tmp_path)
    features, _ = read_representation(tmp_path / "out" / "features.npz", "val")
    modules = SystemModules(SYSTEM, SHAPES).eval()
    load_weights(modules, inputs["weights"].file("weights.safetensors"))
    images = to_unit(np.load(inputs["data"].folder / "val.images.npy"))
    with torch.no_grad():
        latents = modules.module("tokenizer").encode(images)
        hidden = modules.module("prior")(latents, torch.full((20,), NULL_CLASS), tap).hidden
    np.testing.assert_allclose(features, hidden.mean(1), atol=1e-5)
    assert features.std() > 1e-3


def test_an_interrupted_job_goes_on_and_ends_in_the_same_bytes(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    class Stopping(Progress):
        calls = 0

        def advance(self, done: int, images: int = 0, **shown: float) -> None:
            self.calls += 1
            if self.calls == 6:  # five batches of the training split, one of the other
                raise KeyboardInterrupt

    represent(TASK, inputs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        represent(TASK, inputs, tmp_path / "work", Stopping("sample", stream=io.StringIO()))
    kept = {path: path.stat().st_ino for path in (tmp_path / "work").rglob("*.json")}
    assert len(kept) == 6
    represent(TASK, inputs, tmp_path / "work")
    assert {path: path.stat().st_ino for path in kept} == kept
    whole, again = (tmp_path / name / "out" / "features.npz" for name in ("whole", "work"))
    assert whole.read_bytes() == again.read_bytes()


def test_a_representation_is_measured_without_reference_and_extractor(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    represent(TASK, inputs, tmp_path / "features")
    samples = store_artifact(tmp_path / "features" / "out", stage="infer", name="tiny.s0.representation")
    task = EvaluateTask(
        content="representation",
        shapes=SHAPES,
        extractor=None,
        extractor_system=None,
        metrics=[LinearProbeSpec(epochs=20, batch_size=20)],
        reference=None,
        compute=Compute(device="cpu"),
    )
    facts = evaluate.run(task, {"output": samples}, tmp_path / "work", Progress("evaluate", stream=io.StringIO()))
    metrics = json.loads((tmp_path / "work" / "out" / "metrics.json").read_text())
    assert list(metrics) == ["probe_last", "probe_best", "count"]
    assert (metrics["probe_last"]["value"], metrics["count"]) == (1.0, 20)
    assert facts == EvaluateFacts(count=20, train_count=40, features=16)
