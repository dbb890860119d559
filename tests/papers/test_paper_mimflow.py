"""MIMFlow's paper spec runs a step of each phase on a folder of photographs; only sizes and precision are overridden.

Weights that a user would bring are random ones here, in files of the real layouts.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from papers import (
    given,
    given_perceptual,
    given_vit,
    paper_project,
    random_perceptual,
    random_vit,
    save,
    small,
    trained,
)
from safetensors.torch import load_file

from mimflow.errors import ArtifactError
from mimflow.nn.draws import Draws
from mimflow.nn.modes import evaluating
from mimflow.outputs.registry import OUTPUTS
from mimflow.products.registry import open_plan
from mimflow.stages.runner import run_job
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes

pytestmark = pytest.mark.slow

SIZES = {
    "tokenizer.patch_size": 8,
    "tokenizer.latents": 8,
    "tokenizer.channels": 8,
    **{f"tokenizer.{half}.{field}": value for half in ("encoder", "decoder") for field, value in (("width", 32), ("layers", 1), ("heads", 2))},
    "prior.width": 64,
    "prior.blocks": [1, 2],
    "phases.joint.batch_size": 4,
    "phases.joint.accumulate": 1,
    "phases.joint.precision": "fp32",
    "phases.joint.epochs": 0.25,
    "phases.joint.objective.alignment.0.projector": [16, 16],
    **{f"phases.joint.objective.auxiliary.{i}.{field}": value for i in (0, 1) for field, value in (("width", 32), ("layers", 1), ("heads", 2))},
    "phases.decoder.batch_size": 4,
    "phases.decoder.accumulate": 1,
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
    # Variants differ in nothing that the perceptual networks see, which take a minute a step; the probe's run has one phase.
    cheap = {path: value for path, value in overrides.items() if "perceptual" not in path and "decoder." not in path}
    cheap |= {path: value for path, value in overrides.items() if path.startswith("tokenizer.decoder.")}
    cheap[f"{objective}.perceptual"] = "[]"
    for variant in ("gated", "masks-per-sample", "clean-alignment", "probe"):
        small(project, f"small-{variant}", f"mimflow-l-{variant}", cheap)
    encoder = given("tokenizer.encoder.weights", random_dinov2(project))
    small(project, "small-dinov2", "mimflow-l-dinov2", cheap | encoder)
    small(project, "small-outputs", "mimflow-l", cheap | {"prior.blocks": [1, 1, 1, 2]})
    return project


def random_dinov2(root: Path) -> Path:
    """A file in the layout of DINOv2's ViT-B/14, as wide and deep as the small encoder."""
    torch.manual_seed(2)
    network = timm.create_model("vit_base_patch14_dinov2", img_size=28, embed_dim=32, depth=1, num_heads=2)
    return save(root, "dinov2", network.state_dict())


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


VARIANTS = ["dinov2", "gated", "probe", "masks-per-sample", "clean-alignment"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_each_variant(paper: Path, variant: str) -> None:
    plan = open_plan(paper)
    run_job(plan, plan.job("small"))
    artifact = trained(plan, f"small-{variant}.joint.s0")
    weights, prior = load_file(artifact.file("weights.safetensors")), "prior.blocks.1.transformer.layers.1."
    assert (f"{prior}attention.gate.weight" in weights) == (variant == "gated")
    if variant == "dinov2":
        file = load_file(paper / "weights/dinov2.safetensors")
        moved = weights["tokenizer.encoder.vit.blocks.0.attn.qkv.weight"] - file["blocks.0.attn.qkv.weight"]
        assert 0 < moved.abs().max() < 2e-4  # one step of AdamW at a rate of 1e-4


def test_what_is_asked_of_each_variant(paper: Path) -> None:
    runs = open_plan(paper).workspace.runs
    plain, *others = [runs[f"mimflow-l{name}"].spec for name in ("", *(f"-{variant}" for variant in VARIANTS))]
    dinov2, gated, probe, per_sample, clean = others
    assert plain.tokenizer.encoder.weights is None and dinov2.tokenizer.encoder.weights.name == "dinov2-base"
    assert not plain.prior.gated_attention and gated.prior.gated_attention
    assert (probe.tokenizer.mask.low, probe.tokenizer.mask.high) == (0.6, 0.8)
    assert list(probe.phases) == ["joint"] and probe.phases["joint"].epochs == 50
    assert (plain.tokenizer.mask.per, per_sample.tokenizer.mask.per) == ("batch", "sample")
    assert plain.phases["joint"].objective.alignment[0].where.noisy
    assert not clean.phases["joint"].objective.alignment[0].where.noisy


def test_the_readings_of_the_guidance_give_images_of_their_own(paper: Path) -> None:
    """Two rules, each in all blocks by four meanings of the interval and in the deep one by two of them."""
    plan = open_plan(paper)
    run = plan.workspace.runs["small-outputs"].spec
    torch.manual_seed(0)
    modules = SystemModules(run.system, Shapes.of(plan.workspace.datasets[run.dataset].spec))
    for parameter in modules.prior.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)
    tokenizer, prior, labels = modules.module("tokenizer"), modules.module("prior"), torch.tensor([0, 1, 2])
    images = []
    for spec in (output for output in run.outputs.values() if output.kind == "inverse" and output.guidance is not None):
        assert spec.precision == "bf16" and spec.guidance.weight == 2.0
        sampler = OUTPUTS.build(spec.model_copy(update={"precision": "fp32"}))
        with evaluating(tokenizer, prior), torch.no_grad():
            images.append(sampler.latents(prior, labels, Draws([0, 1, 2])))
    assert len(images) == 12 and all(image.isfinite().all() for image in images)
    for first, second in combinations(images, 2):
        assert (first - second).abs().max() > 1e-3


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
