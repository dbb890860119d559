"""SiT's paper specs run a step and draw samples, on photographs; only sizes and precision are overridden.

Weights that a user would bring are random ones here, in files of the real layouts.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from papers import given, given_lpips, paper_project, random_lpips, save, small, trained
from safetensors.torch import load_file

from mimflow.artifacts.samples import read_samples
from mimflow.plan.build import Plan
from mimflow.products.registry import open_plan
from mimflow.project.protocol import ProtocolSpec
from mimflow.spec.shapes import ImageShape
from mimflow.stages.runner import run_job
from mimflow.tokenizers.kl_vae.model import KlVae
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec, LearnableVariance

pytestmark = pytest.mark.slow

VAE = {"width": 4, "multipliers": [1, 2, 2], "groups": 2, "channels": 4}
"""64 latents of 32 × 32 pixels."""
SIZES = {f"tokenizer.{field}": value for field, value in VAE.items()} | {
    "prior.width": 16,
    "prior.layers": 2,
    "prior.head_width": 8,
    "outputs.unguided.steps": 3,
    "compute.threads": 1,
}
STEP = {"batch_size": 4, "accumulate": 1, "epochs": 0.25, "precision": "fp32"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    root = paper_project(tmp_path_factory.mktemp("papers"))
    torch.manual_seed(0)
    for name, attention in (("sit-xl-2", "none"), ("sit-xl-1-d32-frozen", "both")):
        spec = KlVaeSpec(**VAE, attention=attention, variance=LearnableVariance())
        vae = save(root, f"vae-{name}", KlVae(spec, ImageShape(3, 32)).state_dict())
        step = {f"phases.main.{field}": value for field, value in STEP.items()}
        small(root, f"small-{name}", name, SIZES | step | given("tokenizer.weights", vae))
    objective = "phases.joint.objective"
    joint = {f"phases.joint.{field}": value for field, value in STEP.items()} | {f"{objective}.adversarial.width": 4}
    joint |= given_lpips(objective, random_lpips(root))
    small(root, "small-sit-joint", "sit-xl-1-d32-joint", SIZES | joint)
    plan = open_plan(root)
    run_job(plan, plan.job("small"))
    return plan


def drawn(plan: Plan, run: str) -> np.ndarray:
    """Three images of the run's output `unguided`."""
    extractor = {"kind": "classifier", "weights": {"run": "none"}}
    samples = {"count": 3, "batch_size": 2}
    fields = {"dataset": "small", "samples": samples, "extractor": extractor, "metrics": [{"kind": "fid"}]}
    protocol = ProtocolSpec.model_validate(fields)
    return read_samples(run_job(plan, plan.infer(run, "unguided", protocol, 0)).file("samples.npz"))[0]


@pytest.mark.parametrize("run", ["small-sit-xl-2", "small-sit-xl-1-d32-frozen"])
def test_a_frozen_tokenizer_stays_as_it_is(plan: Plan, run: str) -> None:
    measured = "scale" in plan.workspace.runs[run].spec.phases
    scales = trained(plan, f"{run}.scale.s0", steps=0) if measured else None
    artifact = trained(plan, f"{run}.main.s0")
    assert artifact.manifest.facts["final"].keys() >= {"velocity"}
    weights = load_file(artifact.file("weights.safetensors"))
    vae = load_file(plan.workspace.root / f"weights/vae-{run.removeprefix('small-')}.safetensors")
    assert all(torch.equal(weights[f"tokenizer.{name}"], tensor) for name, tensor in vae.items())
    assert weights["prior.proj_out.bias"].any()
    assert measured == ("tokenizer.scale" in weights)
    if scales is not None:
        # What the prior reads has a standard deviation of 1.
        figures = scales.manifest.facts["final"]
        assert weights["tokenizer.scale"].item() == pytest.approx(figures["scale"])
        assert figures["loss"] - figures["latent_mean"] ** 2 == pytest.approx(1, rel=0.1)
    assert drawn(plan, run).shape == (3, 32, 32, 3)


def test_tokenizer_and_velocity_are_trained_together(plan: Plan) -> None:
    artifact = trained(plan, "small-sit-joint.joint.s0")
    terms = {"velocity", "reconstruction", "perceptual", "adversarial", "discriminator_loss"}
    assert terms <= artifact.manifest.facts["final"].keys()
    assert artifact.manifest.facts["health"]["noise_std"] == 0.5
    assert drawn(plan, "small-sit-joint").std() > 1
