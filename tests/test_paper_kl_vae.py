"""The KL-VAE's paper spec runs two steps on a folder of photographs with only its sizes overridden."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from projects import REPOSITORY
from test_image_folder import write_photographs
from test_paper_mimflow import given_weights, written

from mimflow.artifacts.manifest import sha256_of
from mimflow.plan.build import Plan
from mimflow.spec.workspace import Workspace
from mimflow.stages.runner import run_job

SIZES = {
    "tokenizer.channels": 4,
    "tokenizer.width": 8,
    "tokenizer.groups": 4,
    "phases.main.batch_size": 4,
    "phases.main.steps": 2,
    "phases.main.objective.adversarial.start": 0.5,
    "phases.main.objective.adversarial.width": 8,
    "compute.threads": 1,
}


@pytest.mark.parametrize("name", ["kl-vae-f16-d64", "kl-vae-f16-d64-fixed-ln"])
def test_a_step_with_and_one_without_the_discriminator(tmp_path: Path, name: str) -> None:
    write_photographs(tmp_path / "data/imagenet", train=4, val=2)
    for folder in ("systems", "datasets"):
        shutil.copytree(REPOSITORY / "specs" / folder, tmp_path / "specs" / folder)
    files, overrides = given_weights(tmp_path / "weights"), dict[str, object](SIZES)
    for field, key in (("vgg", "vgg"), ("linear", "linear")):
        place = f"phases.main.objective.perceptual.0.{field}"
        overrides |= {f"{place}.file": f"weights/{files[key].name}", f"{place}.sha256": f'"{sha256_of(files[key])}"'}
    (tmp_path / "specs/datasets/small.yaml").write_text(
        "extends: imagenet256.yaml\noverrides: {num_classes: 3, transform.size: 32}\n"
    )
    (tmp_path / "specs/systems/small.yaml").write_text(
        f"extends: {name}.yaml\ndataset: small\noverrides:\n{written(overrides)}\n"
    )
    plan = Plan(Workspace(tmp_path))
    run_job(plan, plan.job("small"))
    facts = run_job(plan, plan.job("small.main.s0")).manifest.facts
    assert facts["steps"] == 2
    assert ("kl" in facts["final"]) == (name == "kl-vae-f16-d64")
    assert facts["final"].keys() >= {"reconstruction", "perceptual", "adversarial_weight", "discriminator_loss"}
    assert all(np.isfinite(value) for value in facts["final"].values())
