"""MIMFlow's paper spec runs a step of each phase on a folder of photographs; only sizes and precision are overridden.

Weights that a user would bring are random ones here, in files of the real layouts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from papers import given_perceptual, given_vit, paper_project, random_perceptual, random_vit, small
from safetensors.torch import load_file

from mimflow.errors import ArtifactError
from mimflow.products.registry import open_plan
from mimflow.stages.runner import run_job

pytestmark = pytest.mark.slow

SIZES = {
    "tokenizer.patch_size": 8,
    "tokenizer.latents": 8,
    "tokenizer.channels": 8,
    **{f"tokenizer.{half}.{field}": value for half in ("encoder", "decoder") for field, value in (("width", 32), ("layers", 1), ("heads", 2))},
    "prior.width": 64,
    "prior.blocks": [1, 2],
    "phases.joint.batch_size": 4,
    "phases.joint.precision": "fp32",
    "phases.joint.epochs": 0.25,
    "phases.joint.objective.alignment.0.projector": [16, 16],
    **{f"phases.joint.objective.auxiliary.{i}.{field}": value for i in (0, 1) for field, value in (("width", 32), ("layers", 1), ("heads", 2))},
    "phases.decoder.batch_size": 4,
    "phases.decoder.precision": "fp32",
    "phases.decoder.epochs": 0.25,
    "phases.decoder.objective.adversarial.width": 8,
    "compute.threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = paper_project(tmp_path_factory.mktemp("paper"))
    files, vit = random_perceptual(project), random_vit(project)
    objective = "phases.joint.objective"
    overrides = SIZES | given_perceptual(objective, files) | given_perceptual("phases.decoder.objective", files)
    for term in ("alignment.0", "auxiliary.0", "auxiliary.1"):
        overrides |= given_vit(f"{objective}.{term}", vit, input_size=32)
    small(project, "small", "mimflow-l", overrides)
    return project


def test_a_step_of_each_phase(paper: Path) -> None:
    plan = open_plan(paper)
    run_job(plan, plan.job("small"))
    joint = run_job(plan, plan.job("small.joint.s0"))
    final = joint.manifest.facts["final"]
    assert joint.manifest.facts["steps"] == 1
    assert {"nll", "reconstruction", "alignment", "auxiliary_0", "auxiliary_1"} <= final.keys()
    assert all(np.isfinite(value) for value in final.values())
    assert joint.manifest.facts["health"]["noise_std"] == 0.3
    decoder = run_job(plan, plan.job("small.decoder.s0"))
    assert decoder.manifest.facts["steps"] == 1
    before, after = load_file(joint.file("ema.safetensors")), load_file(decoder.file("weights.safetensors"))
    changed = {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("tokenizer.decoder.") for name in changed)


def test_a_network_that_is_not_there_is_named(paper: Path) -> None:
    text = (paper / "specs/systems/small.yaml").read_text().replace("weights/vgg.safetensors", "weights/none.pth")
    # A file's name does not enter a key: with nothing else changed the result might be there already.
    text = text.replace("phases.joint.batch_size: 4", "phases.joint.batch_size: 2")
    (paper / "specs/systems/absent.yaml").write_text(text)
    plan = open_plan(paper)
    run_job(plan, plan.job("small"))
    with pytest.raises(
        ArtifactError, match=r"weights/none\.pth: missing: put torchvision's VGG16 \(vgg16-397923af\.pth\) there"
    ):
        run_job(plan, plan.job("absent.joint.s0"))
