"""The KL-VAE's paper spec runs two steps on a folder of photographs; only sizes and precision are overridden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from papers import given, paper_project, random_perceptual, small

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


@pytest.mark.parametrize("name", ["kl-vae-f16-d64", "kl-vae-f16-d64-fixed-ln"])
def test_a_step_with_and_one_without_the_discriminator(tmp_path: Path, name: str) -> None:
    files = random_perceptual(paper_project(tmp_path))
    place = "phases.main.objective.perceptual.0"
    small(
        tmp_path,
        "small",
        name,
        SIZES | given(f"{place}.vgg", files["vgg"]) | given(f"{place}.linear", files["linear"]),
    )
    plan = open_plan(tmp_path)
    run_job(plan, plan.job("small"))
    facts = run_job(plan, plan.job("small.main.s0")).manifest.facts
    assert facts["steps"] == 2
    assert ("kl" in facts["final"]) == (name == "kl-vae-f16-d64")
    assert facts["final"].keys() >= {"reconstruction", "perceptual", "adversarial_weight", "discriminator_loss"}
    assert all(np.isfinite(value) for value in facts["final"].values())
