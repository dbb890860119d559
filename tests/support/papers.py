"""Paper specs in a project with a folder of photographs, and files of random weights in the layouts of the real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from photographs import write_photographs
from projects import REPOSITORY
from safetensors.torch import save_file
from torchvision.models.vgg import cfgs, make_layers

from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.features.lpips import CHANNELS
from mimflow.plan.build import Plan
from mimflow.stages.runner import run_job

VIT = {"architecture": "test_vit", "width": 64, "patch_size": 8}
"""A small network of timm in place of DINOv2 and SigLIP; `input_size` says how many patches it sees."""

Overrides = dict[str, object]


def paper_project(root: Path) -> Path:
    """A project with the shipped systems, data sets that they name, and 12 photographs at ImageNet's place."""
    write_photographs(root / "data/imagenet", train=4, val=2)
    for folder in ("systems", "datasets", "weights"):
        shutil.copytree(REPOSITORY / "specs" / folder, root / "specs" / folder)
    (root / "specs/datasets/small.yaml").write_text(
        "extends: imagenet256.yaml\noverrides: {num_classes: 3, transform.size: 32}\n"
    )
    return root


def small(root: Path, name: str, base: str, overrides: Overrides) -> None:
    """The run `name`: a shipped system on the photographs, with nothing but `overrides` changed.

    Tests override the precision too: most CPUs emulate bf16, and LPIPS' VGG16 then takes minutes for a step.
    """
    lines = "\n".join(f"  {path}: {value}" for path, value in overrides.items())
    (root / f"specs/systems/{name}.yaml").write_text(f"extends: {base}.yaml\ndataset: small\noverrides:\n{lines}\n")


def random_lpips(root: Path) -> dict[str, Path]:
    """Files of LPIPS' two networks; of VGG16 the layers that it reads, without a classifier's 124 M weights."""
    torch.manual_seed(0)
    vgg = make_layers(cfgs["D"]).state_dict()
    return {
        "vgg": save(root, "vgg", {f"features.{name}": tensor for name, tensor in vgg.items()}),
        "linear": save(
            root, "linear", {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(CHANNELS["vgg"])}
        ),
    }


def random_perceptual(root: Path) -> dict[str, Path]:
    """Files of LPIPS' two networks and of ConvNeXt-Small."""
    return random_lpips(root) | {"convnext": save(root, "convnext", torchvision.models.convnext_small().state_dict())}


def random_vit(root: Path) -> Path:
    """A file of the network that `VIT` names."""
    torch.manual_seed(1)
    return save(root, "vit", timm.create_model("test_vit", num_classes=0).state_dict())


def save(root: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """A file of weights in the project."""
    path = root / f"weights/{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    return path


def given(place: str, path: Path) -> Overrides:
    """The file of weights that a spec names at `place`."""
    return {place: f'{{file: weights/{path.name}, sha256: "{sha256_of(path)}"}}'}


def given_lpips(objective: str, files: dict[str, Path]) -> Overrides:
    """The first perceptual term of an objective."""
    return {
        **given(f"{objective}.perceptual.0.vgg", files["vgg"]),
        **given(f"{objective}.perceptual.0.linear", files["linear"]),
    }


def given_perceptual(objective: str, files: dict[str, Path]) -> Overrides:
    """Both perceptual terms of an objective: LPIPS, then ConvNeXt."""
    return given_lpips(objective, files) | given(f"{objective}.perceptual.1.weights", files["convnext"])


def given_vit(place: str, path: Path, input_size: int) -> Overrides:
    """The frozen network of a term."""
    fields = {f"{place}.network.{field}": value for field, value in (VIT | {"input_size": input_size}).items()}
    return fields | given(f"{place}.network.weights", path)


def trained(plan: Plan, name: str, steps: int = 1) -> Artifact:
    """What the job makes: a phase of so many steps, with finite figures at its end."""
    job = plan.job(name, "train")
    for needed in job.inputs.values():
        if needed.stage == "latents" and not needed.done(plan.root):
            run_job(plan, needed)
    artifact = run_job(plan, job)
    assert artifact.manifest.facts["steps"] == steps
    assert all(np.isfinite(value) for value in artifact.manifest.facts["final"].values())
    return artifact
