"""Latents of a frozen tokenizer, computed once: the stage, the plan, and what training makes of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import store_artifact
from projects import new_project
from training_parts import KL_VAE, NLL, SHAPES, TRAIN, VAL, VELOCITY, tiny_data, tiny_task

from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.artifacts.stored_latents import open_latents
from mimflow.data.prepared import Prepared
from mimflow.errors import NotFiniteError
from mimflow.plan.build import Plan
from mimflow.products.registry import open_plan
from mimflow.progress import Progress
from mimflow.stages import latents, train
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.tasks import LatentsTask
from mimflow.tokenizers.kl_vae.model import KlVae
from mimflow.weights.tensors import save_state

SIT_ON_LATENTS = KL_VAE | {"prior": {"kind": "sit", "width": 8, "layers": 1, "head_width": 4, "patch_size": 2}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("latents") / "data")


@pytest.fixture(scope="module")
def system() -> SystemModules:
    torch.manual_seed(3)
    return SystemModules(System.model_validate(KL_VAE), SHAPES)


@pytest.fixture(scope="module")
def weights(system: SystemModules, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_state({name: tensor for name, tensor in system.state_dict().items() if name.startswith("tokenizer.")}, path)
    return {"file": str(path), "sha256": sha256_of(path)}


@pytest.fixture(scope="module")
def stored(data: Artifact, weights: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compute(data, weights, tmp_path_factory.mktemp("stored"))


def compute(data: Artifact, weights: dict[str, object], work: Path, stream: io.StringIO | None = None) -> Artifact:
    fields = {"shapes": SHAPES, "tokenizer": KL_VAE["tokenizer"], "weights": weights, "compute": {"device": "cpu"}}
    progress = Progress("tiny", interval=0.0, stream=stream or io.StringIO())
    facts = latents.run(LatentsTask.model_validate(fields), {"data": data}, work, progress)
    return store_artifact(work / "out", stage="latents", name="tiny", facts=facts)


# -- the stage -------------------------------------------------------------------------------------------------------


def test_every_image_and_its_mirror_image_have_mean_and_spread(
    data: Artifact, stored: Artifact, system: SystemModules
) -> None:
    tokenizer = system.module("tokenizer")
    for split, count in (("train", TRAIN), ("val", VAL)):
        rows = open_latents(stored, split)
        assert sorted(rows) == ["mean", "spread"]
        assert all(array.dtype == np.float16 and array.shape == (count, 2, 16, 2) for array in rows.values())
        images = Prepared.open(data).split(split).images.astype(np.float32) / np.float32(127.5) - np.float32(1)
        for side, seen in enumerate((images, images[:, :, ::-1])):
            with torch.no_grad():
                posterior = tokenizer.posterior(torch.from_numpy(seen.transpose(0, 3, 1, 2).copy()))
            assert posterior.log_variance is not None
            spread = posterior.log_variance.div(2).exp()
            for name, wanted in (("mean", posterior.mean), ("spread", spread)):
                found = torch.from_numpy(np.array(rows[name][:, side])).float()
                torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    facts = stored.manifest.facts
    assert (facts["tokens"], facts["channels"], facts["drawn"]) == (16, 2, True)


class StopAfter(io.StringIO):
    """Takes progress lines, and raises when so many images are reported done."""

    def write(self, text: str) -> int:
        if "image 24/" in text:
            raise KeyboardInterrupt
        return super().write(text)


def test_an_interrupted_pass_goes_on_and_ends_in_the_same_bytes(
    data: Artifact, weights: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "BATCH_SIZE", 8)
    monkeypatch.setattr(latents, "PIECE_BYTES", 1)
    whole = compute(data, weights, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        compute(data, weights, tmp_path / "parts", StopAfter())
    passed: list[int] = []
    posterior = KlVae.posterior
    monkeypatch.setattr(
        KlVae, "posterior", lambda self, images: (passed.append(len(images)), posterior(self, images))[1]
    )
    parts = compute(data, weights, tmp_path / "parts")
    assert sum(passed) == 2 * (TRAIN + VAL - 16), "two batches of eight were kept"
    assert parts.manifest.files == whole.manifest.files


@pytest.mark.fault("not finite")
def test_latents_that_float16_can_not_hold_are_refused(
    data: Artifact, weights: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posterior = KlVae.posterior
    monkeypatch.setattr(KlVae, "posterior", lambda self, images: posterior(self, images * 1e30))
    with pytest.raises(NotFiniteError, match=r"leave the range of float16 \(stored_latents: false\)"):
        compute(data, weights, tmp_path)


# -- training with them ----------------------------------------------------------------------------------------------


def log_of(work: Path) -> list[dict[str, float]]:
    with (work / "out/log.csv").open() as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


@pytest.mark.parametrize(("on", "objective"), [(KL_VAE, NLL), (SIT_ON_LATENTS, VELOCITY)], ids=["nll", "velocity"])
def test_training_on_them_draws_the_same_and_needs_no_images(
    data: Artifact,
    stored: Artifact,
    weights: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on: dict[str, object],
    objective: dict[str, object],
) -> None:
    fields = {
        "objective": objective,
        "trains": ["prior"],
        "start": [weights | {"modules": ["tokenizer"]}],
        "augment": {"flip": True},
        "steps": 4,
        "snapshots": [],
    }
    quiet = Progress("tiny", stream=io.StringIO())
    facts = train.run(tiny_task(on, **fields), {"data": data}, tmp_path / "computed", quiet)

    def refuse(self: KlVae, images: torch.Tensor) -> None:
        raise AssertionError("the encoder is not to run")

    monkeypatch.setattr(KlVae, "posterior", refuse)
    task = tiny_task(on, **fields, stored_latents=True)
    read = train.run(task, {"data": data, "latents": stored}, tmp_path / "stored", quiet)
    assert read.val == pytest.approx(facts.val, abs=2e-3)
    for one, other in zip(log_of(tmp_path / "computed"), log_of(tmp_path / "stored"), strict=True):
        assert other == pytest.approx(one, abs=5e-3, rel=5e-3)


# -- the plan --------------------------------------------------------------------------------------------------------

RUN = """\
dataset: digits
tokenizer: {kind: kl_vae, channels: 2, width: 4, multipliers: [1, 2], blocks: 1, groups: 2, variance: {kind: learnable}}
prior: {kind: tarflow, width: 8, head_width: 4, blocks: [1, 1]}
phases:
  tokenizer:
    objective: {kind: autoencoder, kl_weight: 1e-3}
    trains: [tokenizer]
    steps: 4
    batch_size: 32
    optimizer: {kind: adamw, lr: 1e-3}
    ema: 0.9
  main:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.2}}
    start: [{phase: tokenizer, ema: true}]
    trains: [prior]
    stored_latents: true
    steps: 4
    batch_size: 32
    optimizer: {kind: adamw, lr: 1e-3}
  more:
    objective: {kind: nll, noise: {kind: gaussian, std: 0.2}}
    trains: [prior]
    stored_latents: true
    steps: 5
    batch_size: 32
    optimizer: {kind: adamw, lr: 1e-3}
"""


def plan_of(root: Path, text: str = RUN) -> Plan:
    project = new_project(root)
    (project / "specs/mini/latent.yaml").write_text(text)
    return open_plan(project)


def test_phases_of_one_frozen_tokenizer_share_its_latents(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "project")
    main, more = (plan.job(f"latent.{phase}.s0", "train") for phase in ("main", "more"))
    job = main.inputs["latents"]
    assert job.inputs == {"data": plan.job("digits", "prepare"), "weights": plan.job("latent.tokenizer.s0", "train")}
    assert isinstance(job.task, LatentsTask) and job.task.ema and job.task.weights is None
    assert more.inputs["latents"].id == job.id
    assert job.manifest == f"results/store/latents/{job.id}/manifest.json"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("trains: [prior]\n    stored_latents: true\n    steps: 4", "stored_latents: true\n    steps: 4", "the tokenizer is trained"),
        ("    steps: 4\n    batch_size: 32\n    optimizer: {kind: adamw, lr: 1e-3}\n    ema", "    stored_latents: true\n    steps: 4\n    batch_size: 32\n    optimizer: {kind: adamw, lr: 1e-3}\n    ema", "objective 'autoencoder' reads more than latents"),
        ("    trains: [prior]\n", "    trains: [prior]\n    augment: {shift: 1}\n", "stored latents are of images that are not moved"),
        ("tokenizer: {kind: kl_vae, channels: 2, width: 4, multipliers: [1, 2], blocks: 1, groups: 2, variance: {kind: learnable}}", "tokenizer: {kind: pixel, patch_size: 2}", "the latents of tokenizer 'pixel' are no mean and spread"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_in_place_of_images_is_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in RUN
    problems = plan_of(tmp_path / "project", RUN.replace(old, new, 1)).workspace.problems
    assert any(problem in line for line in problems), problems
