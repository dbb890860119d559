"""A tokenizer trained alone, and a prior on it once it is frozen."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import ADDITIVE, AUTOENCODER, KL_VAE, NLL, SHAPES, perturbed_modules, phase, tiny_data, tiny_task

from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.registry import OBJECTIVES
from mimflow.progress import Progress
from mimflow.spec.shapes import ImageShape
from mimflow.stages import train
from mimflow.system.spec import System
from mimflow.training.spec import Phase

pytestmark = pytest.mark.slow

PLAIN = {"kind": "autoencoder"}
FIXED: dict[str, Any] = KL_VAE | {"tokenizer": KL_VAE["tokenizer"] | {"variance": {"kind": "fixed"}}}  # type: ignore[operator]


def build(objective: dict[str, Any], system: dict[str, Any] = KL_VAE) -> Objective:
    spec = Phase.model_validate(phase(objective=objective)).objective
    return OBJECTIVES.build(spec, perturbed_modules(system), SHAPES)


def batch(count: int = 4) -> Batch:
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return Batch(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def test_the_loss_is_the_weighted_sum_of_what_is_logged() -> None:
    objective = build(
        AUTOENCODER | {"reconstruction": {"weight": 3.0, "loss": "l1"}, "kl_weight": 0.5, "adversarial": None}
    )
    loss, figures = objective("system", batch(), {})
    expected = 3 * figures["reconstruction"] + figures["perceptual"] + 0.5 * figures["kl"]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(figures["kl"], objective.tokenizer.posterior(batch().images).divergence().mean())


def test_the_players_share_out_all_that_is_trained() -> None:
    objective = build(AUTOENCODER)
    system, discriminator = objective.players(["tokenizer"])
    assert {name.split(".")[0] for name in system.parameters} == {"tokenizer"}
    assert all(name.startswith("objective.discriminator.") for name in discriminator.parameters)
    alone = build(AUTOENCODER | {"adversarial": None})
    assert [player.name for player in alone.players(["tokenizer"])] == ["system"]


def test_noise_stands_between_encoder_and_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    objective = build(PLAIN | {"noise": ADDITIVE}, FIXED)
    decode = objective.tokenizer.decode
    monkeypatch.setattr(objective.tokenizer, "decode", lambda latents: (seen.append(latents), decode(latents))[1])
    torch.manual_seed(0)
    _, figures = objective("system", batch(200), {})
    noise = seen[0] - objective.tokenizer.encode(batch(200).images)
    assert noise.std().item() == pytest.approx(0.3, abs=0.01)
    assert "kl" not in figures


def test_the_spread_is_logged_at_the_end_of_a_row_and_at_the_end_of_the_phase(tmp_path: Path) -> None:
    task = tiny_task(FIXED, objective=PLAIN | {"noise": ADDITIVE}, steps=4, snapshots=[])
    facts = train.run(task, {"data": tiny_data(tmp_path / "data")}, tmp_path, Progress("tiny", stream=io.StringIO()))
    with (tmp_path / "out/log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1].keys() >= {"reconstruction", "latent_std", "spread_over_noise"}
    assert facts.health["noise_std"] == 0.3
    assert len(facts.health["latent_std"]["channels"]) == 2


@pytest.mark.slow
def test_a_short_run_learns_to_reconstruct(tmp_path: Path) -> None:
    task = tiny_task(
        objective=PLAIN | {"kl_weight": 1e-6}, system=KL_VAE, steps=80, snapshots=[0.0], checkpoint_seconds=3600.0
    )
    facts = train.run(task, {"data": tiny_data(tmp_path / "data")}, tmp_path, Progress("tiny", stream=io.StringIO()))
    assert facts.val["reconstruction"] < 0.5 * facts.snapshots["0"]["reconstruction"]


def test_a_prior_on_a_frozen_tokenizer_sees_draws_from_its_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    objective = build(NLL | {"noise": {"kind": "gaussian", "std": 1e-6}}).eval()
    blocks = objective.prior.by_block
    monkeypatch.setattr(
        objective.prior, "by_block", lambda latents, labels: (seen.append(latents), blocks(latents, labels))[1]
    )
    one = batch(1)
    many = Batch(one.images.expand(2000, -1, -1, -1), one.labels.expand(2000), one.indices.expand(2000))
    torch.manual_seed(0)
    with torch.no_grad():
        objective("system", many, {})
        posterior = objective.tokenizer.posterior(one.images)
    torch.testing.assert_close(seen[0].mean(0), posterior.mean[0], atol=0.2, rtol=0)
    torch.testing.assert_close(seen[0].std(0), torch.exp(0.5 * posterior.log_variance[0]), atol=0.02, rtol=0.1)


def test_a_divergence_needs_a_variance_that_is_learned() -> None:
    spec = Phase.model_validate(phase(objective=AUTOENCODER)).objective
    assert not list(spec.system_problems(System.model_validate(KL_VAE), ImageShape(1, 8)))
    (problem,) = spec.system_problems(System.model_validate(FIXED), ImageShape(1, 8))
    assert problem.path == ("kl_weight",)
    assert problem.message == "the tokenizer learns no variance, so there is no divergence"
