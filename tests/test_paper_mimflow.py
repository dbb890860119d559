"""MIMFlow's paper spec runs a step of each phase on a folder of photographs with only its sizes overridden.

Weights that a user would bring are random ones here, in files of the real layouts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from projects import REPOSITORY
from safetensors.torch import load_file, save_file
from test_image_folder import write_photographs

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.objectives.terms.perceptual import LPIPS_CHANNELS
from mimflow.plan.build import Plan
from mimflow.spec.workspace import Workspace
from mimflow.stages.runner import run_job

NETWORK = {"architecture": "test_vit", "width": 64, "patch_size": 8, "input_size": 32}
SIZES = {
    "tokenizer.patch_size": 8,
    "tokenizer.latents": 8,
    "tokenizer.channels": 8,
    **{f"tokenizer.{half}.{field}": value for half in ("encoder", "decoder") for field, value in (("width", 32), ("layers", 1), ("heads", 2))},
    "prior.width": 64,
    "prior.blocks": [1, 2],
    "phases.joint.batch_size": 4,
    "phases.joint.epochs": 0.25,
    "phases.joint.objective.alignment.0.projector": [16, 16],
    **{f"phases.joint.objective.auxiliary.{i}.{field}": value for i in (0, 1) for field, value in (("width", 32), ("layers", 1), ("heads", 2))},
    "phases.decoder.batch_size": 4,
    "phases.decoder.epochs": 0.25,
    "phases.decoder.objective.adversarial.width": 8,
    "compute.threads": 1,
}  # fmt: skip


def given_weights(folder: Path) -> dict[str, Path]:
    """Random weights in the layouts of LPIPS' two files, ConvNeXt-Small and a vision transformer of timm."""
    folder.mkdir()
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16().features.state_dict()
    linear = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(LPIPS_CHANNELS)}
    states = {
        "vgg": {f"features.{name}": tensor for name, tensor in vgg.items()},
        "linear": linear,
        "convnext": torchvision.models.convnext_small().state_dict(),
        "vit": timm.create_model("test_vit", num_classes=0).state_dict(),
    }
    for name, state in states.items():
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in states}


def written(overrides: dict[str, object]) -> str:
    return "\n".join(f"  {path}: {value}" for path, value in overrides.items())


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("paper")
    write_photographs(project / "data/imagenet", train=4, val=2)
    for folder in ("systems", "datasets"):
        shutil.copytree(REPOSITORY / "specs" / folder, project / "specs" / folder)
    files = given_weights(project / "weights")
    overrides: dict[str, object] = dict(SIZES)
    objective = "phases.joint.objective"
    for phase in ("joint", "decoder"):
        perceptual = f"phases.{phase}.objective.perceptual"
        for place, name in (
            (f"{perceptual}.0.vgg", "vgg"),
            (f"{perceptual}.0.linear", "linear"),
            (f"{perceptual}.1.weights", "convnext"),
        ):
            overrides |= {f"{place}.file": f"weights/{files[name].name}", f"{place}.sha256": f'"{sha256_of(files[name])}"'}  # fmt: skip
    for place in (f"{objective}.alignment.0", f"{objective}.auxiliary.0", f"{objective}.auxiliary.1"):
        overrides |= {f"{place}.network.{field}": value for field, value in NETWORK.items()}
        overrides |= {f"{place}.network.weights.file": "weights/vit.safetensors", f"{place}.network.weights.sha256": f'"{sha256_of(files["vit"])}"'}  # fmt: skip
    (project / "specs/datasets/small.yaml").write_text(
        "extends: imagenet256.yaml\noverrides: {num_classes: 3, transform.size: 32}\n"
    )
    (project / "specs/systems/small.yaml").write_text(
        f"extends: mimflow-l.yaml\ndataset: small\noverrides:\n{written(overrides)}\n"
    )
    return project


def test_a_step_of_each_phase(paper: Path) -> None:
    plan = Plan(Workspace(paper))
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
    spec = paper / "specs/systems/small.yaml"
    (paper / "specs/systems/absent.yaml").write_text(
        spec.read_text().replace("weights/vgg.safetensors", "weights/none.pth")
    )
    plan = Plan(Workspace(paper))
    run_job(plan, plan.job("small"))
    with pytest.raises(
        ArtifactError, match=r"weights/none\.pth: missing: put torchvision's VGG16 \(vgg16-397923af\.pth\) there"
    ):
        run_job(plan, plan.job("absent.joint.s0"))
