"""The paper specs of STARFlow and SimFlow run a step of each phase on photographs; only sizes and precision are overridden.

Weights that a user would bring are random ones here, in files of the real layouts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from papers import (
    given,
    given_lpips,
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

from mimflow.artifacts.manifest import Artifact
from mimflow.plan.build import Plan
from mimflow.products.registry import open_plan
from mimflow.spec.shapes import ImageShape
from mimflow.stages.runner import run_job
from mimflow.tokenizers.kl_vae.model import KlVae
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec, LearnableVariance

pytestmark = pytest.mark.slow

VAE = {"width": 4, "multipliers": [1, 2, 2], "groups": 2, "channels": 4}
"""64 latents of 32 × 32 pixels."""
TOKENIZER = {f"tokenizer.{field}": value for field, value in VAE.items()}
FLOW = {"prior.width": 32, "prior.head_width": 16, "prior.blocks": [1, 1, 1, 1, 1, 2], "compute.threads": 1}
STEP = {"batch_size": 4, "accumulate": 1, "epochs": 0.25, "precision": "fp32"}
OUTPUTS = ("unguided", "guided", "reconstruction")


def phases(*names: str) -> dict[str, object]:
    return {f"phases.{name}.{field}": value for name in names for field, value in STEP.items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = paper_project(tmp_path_factory.mktemp("papers"))
    files, vit = random_perceptual(root), random_vit(root)

    simflow = TOKENIZER | FLOW | phases("stage1", "stage2")
    for stage in ("stage1", "stage2"):
        objective = f"phases.{stage}.objective"
        simflow |= given_lpips(objective, files) | {f"{objective}.adversarial.width": 4}
    small(root, "small-simflow", "simflow-xxl", simflow)
    aligned = simflow
    for stage in ("stage1", "stage2"):
        term = f"phases.{stage}.objective.alignment.0"
        aligned = aligned | given_vit(term, vit, input_size=64) | {f"{term}.projector": [16, 16]}
    small(root, "small-repa-e", "simflow-repa-e", aligned)

    torch.manual_seed(2)
    spec = KlVaeSpec(**VAE, attention="none", variance=LearnableVariance(), scale=0.18215)
    vae = save(root, "vae", KlVae(spec, ImageShape(3, 32)).state_dict())
    starflow = TOKENIZER | FLOW | phases("flow", "decoder") | given("tokenizer.weights", vae)
    starflow |= {"phases.flow.schedule.warmup_epochs": 0, "phases.decoder.schedule.warmup_steps": 0}
    starflow |= {"prior.head_width": 32}  # 8 of its pairs are no row's and no column's
    starflow |= given_perceptual("phases.decoder.objective", files) | {"phases.decoder.objective.adversarial.width": 4}
    small(root, "small-starflow", "starflow-imagenet256", starflow)
    return root


@pytest.fixture(scope="module")
def plan(project: Path) -> Plan:
    plan = open_plan(project)
    run_job(plan, plan.job("small"))
    return plan


def changed(before: dict[str, torch.Tensor], after: Artifact) -> set[str]:
    tensors = load_file(after.file("weights.safetensors"))
    return {name for name, tensor in before.items() if not torch.equal(tensor, tensors[name])}


@pytest.mark.parametrize("run", ["small-simflow", "small-repa-e"])
def test_simflows_stages_train_tokenizer_and_flow_together(plan: Plan, run: str) -> None:
    first = trained(plan, f"{run}.stage1.s0")
    terms = {"nll", "reconstruction", "perceptual", "adversarial", "discriminator_loss"}
    assert terms <= first.manifest.facts["final"].keys()
    assert ("alignment" in first.manifest.facts["final"]) == (run == "small-repa-e")
    assert first.manifest.facts["health"]["noise_std"] == 0.5
    second = trained(plan, f"{run}.stage2.s0")
    # The second stage goes on from the last step of the first, and trains all of it.
    moved = changed(load_file(first.file("weights.safetensors")), second)
    assert {name.split(".")[1] for name in moved if name.startswith("tokenizer.")} == {
        "encoder",
        "decoder",
        "quant_conv",
        "post_quant_conv",
    }
    assert any(name.startswith("prior.") for name in moved)


def test_starflows_flow_is_trained_on_given_latents_and_then_the_decoder_alone(project: Path, plan: Plan) -> None:
    flow = trained(plan, "small-starflow.flow.s0")
    assert {"nll", "latent_norm"} <= flow.manifest.facts["final"].keys()
    given_vae = load_file(project / "weights/vae.safetensors")
    assert not changed({f"tokenizer.{name}": tensor for name, tensor in given_vae.items()}, flow)
    decoder = trained(plan, "small-starflow.decoder.s0")
    terms = {"reconstruction", "perceptual_0", "perceptual_1", "adversarial", "discriminator_loss", "lecam"}
    assert terms <= decoder.manifest.facts["final"].keys()
    moved = changed(load_file(flow.file("weights.safetensors")), decoder)
    assert moved and all(name.startswith(("tokenizer.decoder.", "tokenizer.post_quant_conv.")) for name in moved)
