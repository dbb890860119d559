"""The KL-VAE's paper spec runs two steps on a folder of photographs; only sizes and precision are overridden."""

from __future__ import annotations

import numpy as np
import pytest
from papers import given_lpips, paper_project, random_lpips, small

from mimflow.plan.build import Plan
from mimflow.products.registry import open_plan
from mimflow.stages.runner import run_job

pytestmark = pytest.mark.slow

SIZES = {
    "tokenizer.channels": 4,
    "tokenizer.width": 8,
    "tokenizer.groups": 4,
    "phases.main.batch_size": 4,
    "phases.main.accumulate": 1,
    "phases.main.precision": "fp32",
    "phases.main.steps": 2,
    "phases.main.objective.adversarial.start": 0.5,
    "phases.main.objective.adversarial.width": 8,
    "compute.threads": 1,
}


NAMES = ("kl-vae-f16-d64", "kl-vae-f16-d64-fixed-ln")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    root = paper_project(tmp_path_factory.mktemp("papers"))
    lpips = given_lpips("phases.main.objective", random_lpips(root))
    for name in NAMES:
        small(root, f"small-{name}", name, SIZES | lpips)
    plan = open_plan(root)
    run_job(plan, plan.job("small"))
    return plan


@pytest.mark.parametrize("name", NAMES)
def test_a_step_with_and_one_without_the_discriminator(plan: Plan, name: str) -> None:
    facts = run_job(plan, plan.job(f"small-{name}.main.s0")).manifest.facts
    assert facts["steps"] == 2
    assert ("kl" in facts["final"]) == (name == "kl-vae-f16-d64")
    assert facts["final"].keys() >= {"reconstruction", "perceptual", "adversarial_weight", "discriminator_loss"}
    assert all(np.isfinite(value) for value in facts["final"].values())
