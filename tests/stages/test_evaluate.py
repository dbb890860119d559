"""The evaluate stage: what it writes, what it refuses, and where it keeps what can be shared."""

from __future__ import annotations

import io
import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from artifacts import data_facts, store_artifact, train_facts
from measuring import reference_of

from mimflow.artifacts.facts import plain
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.samples import write_samples
from mimflow.classifiers.convnet.spec import ConvnetSpec
from mimflow.compute.spec import Compute
from mimflow.errors import ArtifactError, SpecError
from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.metrics.reference.spec import SplitReferenceSpec
from mimflow.metrics.spec import ClassAccuracySpec, FidSpec, IsSpec, KidSpec, PrecisionRecallSpec
from mimflow.plan import paths
from mimflow.progress import Progress
from mimflow.spec.weights import RunWeights
from mimflow.stages.evaluate import run
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tasks import EvaluateTask
from mimflow.weights.tensors import save_state

SHAPES = Shapes(channels=3, size=8, num_classes=4)
CLASSIFIER = System(classifier=ConvnetSpec(widths=[4, 8], features=6))
TASK = EvaluateTask(
    content="samples",
    shapes=SHAPES,
    extractor=ClassifierExtractorSpec(weights=RunWeights(run="judge")),
    extractor_system=CLASSIFIER,
    metrics=[
        FidSpec(),
        IsSpec(splits=2),
        KidSpec(subset_size=20, subsets=2),
        PrecisionRecallSpec(),
        ClassAccuracySpec(),
    ],
    reference=SplitReferenceSpec(),
    compute=Compute(device="cpu"),
)


def random_images(count: int, seed: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, size, size, 3), dtype=np.uint8)


def prepared(folder: Path, counts: dict[str, int]) -> Artifact:
    folder.mkdir(parents=True)
    for seed, (split, count) in enumerate(counts.items()):
        np.save(folder / f"{split}.images.npy", random_images(count, seed))
        np.save(folder / f"{split}.labels.npy", np.arange(count) % 4)
    return store_artifact(folder, stage="prepare", name="noise", facts=data_facts("abcd"))


def sampled(folder: Path, images: np.ndarray) -> Artifact:
    labels = np.arange(len(images)) % 4
    write_samples(folder / "samples.npz", [images], labels, images.shape[1:])
    return store_artifact(folder, stage="infer", name="tiny.s0.unguided")


def judge(folder: Path, seed: int = 0) -> Artifact:
    torch.manual_seed(seed)
    save_state(SystemModules(CLASSIFIER, SHAPES).state_dict(), folder / "weights.safetensors")
    return store_artifact(folder, stage="train", name="judge.main.s0", facts=train_facts({"accuracy": 0.97}))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages run in the project's folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    return {
        "output": sampled(tmp_path / "samples", random_images(40, 7)),
        "data": prepared(tmp_path / "data", {"train": 60, "val": 30}),
        "extractor": judge(tmp_path / "judge"),
    }


def evaluate(
    root: Path, inputs: dict[str, Artifact], job: str = "job", **fields: object
) -> tuple[dict[str, object], dict[str, object], str]:
    """What the stage wrote, the facts that it returned and what it said."""
    work = paths.work(root, job)
    progress = Progress("evaluate", stream=io.StringIO())
    root.mkdir(exist_ok=True)
    task = TASK.model_copy(update=fields)
    with chdir(root):  # as the runner does
        known = reference_of(task, inputs, work / "reference")
        facts = run(task, {**inputs, "reference": known}, work, progress)
    metrics = json.loads((work / "out" / "metrics.json").read_text(encoding="utf-8"))
    return metrics, plain(facts), progress.stream.getvalue()


def test_every_metric_stands_in_the_file_with_the_count(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    metrics, facts, said = evaluate(tmp_path, inputs)
    assert list(metrics) == ["fid", "is", "kid", "precision", "recall", "class_accuracy", "count"]
    assert metrics.pop("count") == 40
    for measurement in metrics.values():
        assert measurement.keys() == {"value", "std", "reason"}
        assert isinstance(measurement["value"], float) and measurement["reason"] is None
    assert metrics["is"]["std"] is not None and metrics["fid"]["std"] is None
    assert facts["extractor"].startswith("classifier-")
    assert facts == {
        "extractor": facts["extractor"],
        "extractor_run": "judge.main.s0",
        "extractor_key": "0" * 64,
        "extractor_accuracy": 0.97,
        "count": 40,
        "reference_split": "train",
        "reference_count": 60,
        "torch_fidelity": torch_fidelity.__version__,
    }
    assert "metric 5/5" in said


def test_a_metric_without_a_value_says_why_and_stops_no_other(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    metrics, _, said = evaluate(tmp_path, inputs, metrics=[KidSpec(), FidSpec()])
    reason = "40 samples, at least 1000 needed"
    assert metrics["kid"] == {"value": None, "std": None, "reason": reason}
    assert metrics["fid"]["value"] > 0
    assert f"kid: no value: {reason}" in said


def test_the_reference_is_the_split_asked_for(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    train = inputs["data"].folder / "train.images.npy"
    inputs["output"] = sampled(tmp_path / "copies", np.load(train))
    same, _, _ = evaluate(tmp_path, inputs)
    other, facts, _ = evaluate(tmp_path, inputs, reference=SplitReferenceSpec(split="val"))
    assert same["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert (same["precision"]["value"], same["recall"]["value"]) == (1, 1)
    assert other["fid"]["value"] != same["fid"]["value"]
    assert other["precision"]["value"] < 1
    assert (facts["reference_split"], facts["reference_count"]) == ("val", 30)


def test_a_part_of_the_reference_is_a_seeded_choice(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    fid = {}
    for job, count in (("all", None), ("all by number", 60), ("some", 25), ("some again", 25)):
        part = SplitReferenceSpec(count=count)
        metrics, facts, _ = evaluate(tmp_path / job, inputs, reference=part)
        assert facts["reference_count"] == (count or 60)
        fid[job] = metrics["fid"]["value"]
    assert fid["all"] == pytest.approx(fid["all by number"], rel=1e-4)
    assert fid["some"] == fid["some again"] != fid["all"]


def test_a_reference_can_be_mirrored_by_a_coin(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    """Of a reference that is the samples themselves, about half are no longer there, whatever was measured before."""
    inputs["output"] = sampled(tmp_path / "copies", np.load(inputs["data"].folder / "train.images.npy"))
    seen = {}
    for job, mirror in (("as it is", False), ("mirrored", True), ("again", True)):
        seen[job], _, _ = evaluate(tmp_path, inputs, job, reference=SplitReferenceSpec(mirror=mirror))
    assert seen["as it is"]["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert seen["mirrored"] == seen["again"] != seen["as it is"]


def test_a_reference_larger_than_its_split_is_refused(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"reference\.count: 61 images, split 'train' of noise has 60"):
        evaluate(tmp_path, inputs, reference=SplitReferenceSpec(count=61))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (random_images(9, 0, size=4), "samples are uint8 4×4×3, the protocol's are uint8 8×8×3"),
        (random_images(9, 0)[..., :1], "samples are uint8 8×8×1, the protocol's are uint8 8×8×3"),
    ],
    ids=["size", "channels"],
)
def test_samples_of_another_shape_are_refused(
    images: np.ndarray, message: str, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    inputs["output"] = sampled(tmp_path / "other", images)
    with pytest.raises(ArtifactError, match=message):
        evaluate(tmp_path, inputs)
