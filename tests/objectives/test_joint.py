"""Tokenizer and prior trained together."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from joint_parts import AUXILIARY, PLAIN, batch, build, log_of, loss_of, trainer_of
from training_parts import (
    ADDITIVE,
    JOINT,
    KL_VAE,
    MASKED_AE,
    NETWORK,
    SIT,
    perturbed_modules,
    tiny_data,
    tiny_task,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.features.networks import FrozenNetwork
from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Objective
from mimflow.objectives.health import Spread
from mimflow.objectives.terms.pixels import pixel_distance
from mimflow.objectives.terms.spec import Reconstruction
from mimflow.priors.base import NULL_CLASS
from mimflow.progress import Progress
from mimflow.spec.noise import AdditiveNoise
from mimflow.stages import train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("joint") / "data")


# -- the joint loss --------------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_sum_of_what_is_logged() -> None:
    weights = {"nll": 0.7, "reconstruction": 50.0, "perceptual": 1.1, "alignment": 0.5, "auxiliary": 2.0}
    objective = build(
        {
            "kind": "joint",
            "noise": ADDITIVE,
            "prior_weight": weights["nll"],
            "reconstruction": {"weight": weights["reconstruction"], "loss": "l1"},
            "perceptual": [{"kind": "features", "network": NETWORK, "weight": weights["perceptual"]}],
            "alignment": [{"network": NETWORK, "weight": weights["alignment"], "projector": [8]}],
            "auxiliary": [{"network": NETWORK, "weight": weights["auxiliary"], "width": 8, "layers": 1, "heads": 2}],
        }
    )
    loss, figures = loss_of(objective)
    assert weights.keys() < figures.keys()
    assert loss.item() == pytest.approx(
        sum(weight * figures[name].item() for name, weight in weights.items()), rel=1e-5
    )
    assert figures["nll"].item() == pytest.approx(0.5 * figures["z2"].item() - figures["logdet"].item(), abs=1e-5)


def test_the_posteriors_entropy_is_taken_off_the_loss() -> None:
    spec = PLAIN | {"noise": {"kind": "none"}}
    losses, gradients = [], []
    for weight in (0.0, 0.7):
        objective = build(spec | {"entropy_weight": weight}, perturbed_modules(KL_VAE))
        loss, figures = loss_of(objective)
        loss.backward()
        losses.append(loss.item())
        gradients.append(objective.tokenizer.quant_conv.bias.grad.clone())
        log_variance = objective.tokenizer.posterior(batch().images).log_variance
    entropy = 0.5 * (log_variance.mean().item() + math.log(2 * math.pi * math.e))
    assert figures["entropy"].item() == pytest.approx(entropy, rel=1e-5)
    assert losses[1] == pytest.approx(losses[0] - 0.7 * entropy, rel=1e-5)
    # Its mean over 16 tokens of 2 channels grows by 1/4 with the bias that all log-variances of a channel share.
    wanted = torch.tensor([0.0, 0.0, -0.7 / 4, -0.7 / 4])
    torch.testing.assert_close(gradients[1] - gradients[0], wanted, atol=1e-5, rtol=1e-4)


def test_a_learned_variance_is_drawn_from_jointly() -> None:
    objective = build(PLAIN | {"noise": {"kind": "none"}, "entropy_weight": 1.0}, perturbed_modules(KL_VAE))
    seen: list[torch.Tensor] = []
    objective.prior.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    loss_of(objective)
    posterior = objective.tokenizer.posterior(batch().images)
    torch.manual_seed(7)
    torch.testing.assert_close(seen[0], posterior.sample())


def test_prior_and_decoder_share_one_draw_of_noise() -> None:
    objective = build({"kind": "joint", "noise": ADDITIVE, "masked": False}).eval()
    _, figures = loss_of(objective)
    torch.manual_seed(7)
    noisy = add_noise(objective.tokenizer.encode(batch().images), AdditiveNoise(std=0.3))
    nll = objective.prior.training_loss(noisy, batch().labels).loss
    torch.testing.assert_close(figures["nll"], nll)
    wanted = pixel_distance(objective.tokenizer.decode(noisy), batch().images, Reconstruction())
    torch.testing.assert_close(figures["reconstruction"], wanted)


def test_auxiliary_decoders_see_the_same_draw() -> None:
    objective = build(PLAIN | {"auxiliary": [AUXILIARY]})
    seen: list[torch.Tensor] = []
    for module in (objective.prior, objective.tokenizer.decoder, objective.auxiliary[0]):
        module.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    loss_of(objective)
    assert len(seen) == 3 and seen[0].equal(seen[1]) and seen[0].equal(seen[2])


def test_masks_are_drawn_only_where_asked() -> None:
    masked, whole = build(PLAIN), build(PLAIN | {"masked": False})
    seen: list[bool] = []
    for objective in (masked, whole):
        encode = objective.tokenizer.encode_for_training
        objective.tokenizer.encode_for_training = lambda images, masked, draws, encode=encode: (
            seen.append(masked),
            encode(images, masked, draws),
        )[1]
        loss_of(objective)
    assert seen == [True, False]


def test_labels_are_dropped_in_training_only() -> None:
    objective = build(PLAIN | {"label_drop": 1.0})
    seen: list[torch.Tensor] = []
    objective.prior.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[1]))
    loss_of(objective)
    objective.eval()
    loss_of(objective)
    assert seen[0].eq(NULL_CLASS).all() and seen[1].equal(batch().labels)


@pytest.mark.parametrize("noisy", [True, False])
def test_alignment_sees_latents_with_or_without_noise(noisy: bool) -> None:
    where = {"kind": "latents", "noisy": noisy}
    objective = build(PLAIN | {"masked": False, "alignment": [{"network": NETWORK, "projector": [8], "where": where}]})
    seen: list[torch.Tensor] = []
    objective.aligners[0].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    loss_of(objective)
    latents = objective.tokenizer.encode(batch().images)
    assert torch.allclose(seen[0], latents) != noisy


def test_alignment_inside_the_prior_trains_its_first_layers_only() -> None:
    term = {"network": NETWORK, "projector": [8], "where": {"kind": "prior", "block": 0, "layer": 0}}
    objective = build({"kind": "joint", "noise": ADDITIVE, "prior_weight": 0.0, "alignment": [term]})
    loss, _ = loss_of(objective)
    loss.backward()
    moved = {
        name.split(".")[1] for name, p in objective.prior.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert moved == {"0"}, "nothing behind the layer that is aligned"


@pytest.mark.parametrize("block", [0, 1])
def test_aligned_tokens_of_a_block_stand_at_their_places_in_the_image(block: int) -> None:
    """A block that runs backwards has its tokens turned around again: place i of the image meets token i."""
    term = {"network": NETWORK, "projector": [8], "where": {"kind": "prior", "block": block, "layer": 0}}
    system = KL_VAE | {"prior": KL_VAE["prior"] | {"width": 8}}
    objective = build(PLAIN | {"alignment": [term]}, perturbed_modules(system))
    assert objective.prior.blocks[block].reverse == (block == 1)
    latents: list[torch.Tensor] = []
    tokens: list[torch.Tensor] = []
    objective.prior.blocks[block].register_forward_pre_hook(lambda module, given: latents.append(given[0]))
    objective.aligners[0].register_forward_pre_hook(lambda module, given: tokens.append(given[0]))
    loss_of(objective)
    for place in range(16):
        (gradient,) = torch.autograd.grad(tokens[0][:, place].square().sum(), latents[0], retain_graph=True)
        read = gradient.abs().amax((0, 2)) > 0
        # Shifted outputs: the state at a place has read it and all that come before it in the block's order.
        assert read.tolist() == [other >= place if block == 1 else other <= place for other in range(16)]


# -- what reaches the encoder ----------------------------------------------------------------------------------------


def encoder_gradient(objective: Objective) -> float:
    objective.zero_grad()
    loss_of(objective)[0].backward()
    gradients = [p.grad for p in objective.tokenizer.encoder.parameters() if p.grad is not None]  # type: ignore[union-attr]
    return sum(float(gradient.abs().sum()) for gradient in gradients)


def test_the_priors_gradient_reaches_the_encoder_from_the_asked_share_on() -> None:
    only_prior = {"kind": "joint", "noise": ADDITIVE, "reconstruction": {"weight": 0.0}}
    for share, reached in ((0.0, [True] * 4), (0.5, [False, False, True, True]), (1.0, [False] * 4)):
        objective = build(only_prior | {"prior_gradient_from": share})
        objective.begin(4)
        found = []
        for step in range(4):
            objective.begin_step(step, logged=False)
            found.append(encoder_gradient(objective) > 0)
        assert found == reached


@pytest.mark.parametrize("held_back", [(), ("detach_target",), ("detach_input",), ("detach_target", "detach_input")])
def test_the_loss_of_a_velocity_reaches_the_encoder_unless_held_back(held_back: tuple[str, ...]) -> None:
    prior = SIT["prior"] | {"position": "learned", "patch_size": 1} | dict.fromkeys(held_back, True)
    objective = build(PLAIN | {"reconstruction": {"weight": 0.0}}, perturbed_modules(MASKED_AE | {"prior": prior}))
    assert (encoder_gradient(objective) > 0) == (len(held_back) < 2)


def test_the_loss_with_a_velocity_is_that_of_the_prior_and_of_the_alignment_inside_it() -> None:
    term = {
        "network": NETWORK,
        "projector": [8],
        "mode": "average",
        "weight": 0.5,
        "where": {"kind": "prior", "block": 0, "layer": 0},
    }
    prior = SIT["prior"] | {"position": "learned", "patch_size": 1}
    spec = {"prior_weight": 0.7, "reconstruction": {"weight": 2.0}, "alignment": [term]}
    loss, figures = loss_of(build(PLAIN | spec, perturbed_modules(MASKED_AE | {"prior": prior})))
    expected = 0.7 * figures["velocity"] + 2 * figures["reconstruction"] + 0.5 * figures["alignment"]
    torch.testing.assert_close(loss, expected)


def test_gradient_norms_are_logged_in_steps_that_end_a_row() -> None:
    objective = build(PLAIN | {"reconstruction": {"weight": 3.0}})
    objective.begin(4)
    objective.begin_step(0, logged=False)
    assert not [name for name in loss_of(objective)[1] if name.startswith(("latent_", "spread", "dead"))]
    objective.begin_step(1, logged=True)
    _, figures = loss_of(objective)
    assert figures["latent_grad_prior"] > 0 and figures["latent_grad_reconstruction"] > 0

    # The same gradients by hand, from the latents on.
    torch.manual_seed(7)
    latents = objective.tokenizer.encode_for_training(batch().images, True).latents.detach().requires_grad_()
    noisy = add_noise(latents, AdditiveNoise(std=0.3))
    nll = objective.prior.training_loss(noisy, batch().labels).loss
    distance = pixel_distance(objective.tokenizer.decode(noisy), batch().images, Reconstruction())
    for name, term in (("prior", nll), ("reconstruction", 3 * distance)):
        (gradient,) = torch.autograd.grad(term, latents, retain_graph=True)
        torch.testing.assert_close(figures[f"latent_grad_{name}"], gradient.norm())
    assert figures["latent_std"].item() == pytest.approx(Spread.of([latents.detach()]).channels.mean().item())
    objective.eval()
    assert "latent_grad_prior" not in loss_of(objective)[1]


def test_a_gradient_that_is_held_back_has_norm_zero() -> None:
    objective = build(PLAIN | {"prior_gradient_from": 1.0})
    objective.begin_step(0, logged=True)
    assert loss_of(objective)[1]["latent_grad_prior"] == 0


def test_health_is_of_whole_images_without_noise() -> None:
    objective = build(PLAIN)
    batches = [batch(4), batch(3)]
    facts = objective.health(batches)
    with torch.no_grad():
        latents = torch.cat([objective.tokenizer.encode(each.images) for each in batches])
    assert facts["latent_std"]["channels"] == pytest.approx(latents.double().var(0).mean(0).sqrt().tolist(), rel=1e-4)
    assert facts["noise_std"] == 0.3 and facts["dead_tokens"] == 0.0
    assert all(parameter.requires_grad for parameter in objective.tokenizer.parameters())


def test_terms_that_share_a_network_ask_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = {"alignment": [{"network": NETWORK, "projector": [8]}], "auxiliary": [AUXILIARY, AUXILIARY]}
    objective, passed = build(PLAIN | terms), []
    features_of = FrozenNetwork.features

    def counting(self: FrozenNetwork, images: torch.Tensor) -> torch.Tensor:
        passed.append(len(images))
        return features_of(self, images)

    monkeypatch.setattr(FrozenNetwork, "features", counting)
    loss_of(objective)
    assert passed == [4]


def test_frozen_networks_are_no_part_of_the_state() -> None:
    objective = build(JOINT)
    before = objective.state().keys()
    loss_of(objective)
    assert objective.state().keys() == before
    assert {name.split(".")[1] for name in before if name.startswith("objective.")} == {"aligners", "auxiliary"}


# -- the discriminator, and a frozen encoder --------------------------------------------------------------------------


ADVERSARIAL = {"layers": 1, "width": 4, "weight": 0.3, "start": 0.5}


def test_a_discriminator_is_the_second_player_and_nobody_is_by_default(data: Artifact, tmp_path: Path) -> None:
    assert [player.name for player in build(JOINT).players(["tokenizer", "prior"])] == ["system"]
    spec = JOINT | {"adversarial": ADVERSARIAL | {"start": 0.0}}
    trainer = trainer_of(build(spec), spec, data, tmp_path)
    system, discriminator = trainer.players
    assert (system.name, discriminator.name) == ("system", "discriminator")
    assert all(name.startswith("objective.discriminator.") for name in discriminator.parameters)
    assert {name.split(".")[0] for name in system.parameters} == {"tokenizer", "prior", "objective"}
    assert not system.parameters.keys() & discriminator.parameters.keys()
    named = {name for turn in trainer._step() for name in turn.names}
    assert {"adversarial", "discriminator_loss", "logits_real", "logits_fake"} <= named


def test_the_adversarial_term_is_part_of_the_sum_from_its_start_on() -> None:
    objective = build(PLAIN | {"adversarial": ADVERSARIAL})
    objective.begin(4)
    found = []
    for step in range(4):
        objective.begin_step(step, logged=False)
        loss, figures = loss_of(objective)
        expected = figures["nll"] + figures["reconstruction"]
        if "adversarial" in figures:
            expected = expected + 0.3 * figures["adversarial"]
        torch.testing.assert_close(loss, expected)
        found.append("adversarial" in figures)
    assert found == [False, False, True, True]


def test_the_discriminators_gradient_reaches_the_encoder() -> None:
    objective = build(PLAIN | {"prior_weight": 0.0, "reconstruction": {"weight": 0.0}, "adversarial": ADVERSARIAL})
    objective.begin(2)
    found = []
    for step in range(2):
        objective.begin_step(step, logged=False)
        found.append(encoder_gradient(objective) > 0)
    assert found == [False, True]


def test_a_frozen_encoder_is_neither_trained_nor_changed(data: Artifact, tmp_path: Path) -> None:
    tokenizer = MASKED_AE["tokenizer"] | {"latent_norm": "batch"}  # type: ignore[operator]
    where = {"kind": "prior", "block": 0, "layer": 0}
    spec = PLAIN | {
        "encoder": "frozen",
        "alignment": [{"network": NETWORK, "projector": [8], "where": where}],
        "adversarial": ADVERSARIAL | {"start": 0.0},
    }
    objective = build(spec, perturbed_modules(MASKED_AE | {"tokenizer": tokenizer}))
    trainer = trainer_of(objective, spec, data, tmp_path)
    before = {name: tensor.clone() for name, tensor in objective.state().items()}
    trainer._step()
    changed = {name for name, tensor in objective.state().items() if not tensor.equal(before[name])}
    assert {name.split(".")[0] for name in changed} == {"tokenizer", "prior", "objective"}
    decoder = {name for name in before if name.startswith("tokenizer.decoder.")}
    # The running statistics of normalised latents are the encoder's, and stay as well.
    assert {name for name in changed if name.startswith("tokenizer.")} == decoder
    assert {name.split(".")[1] for name in changed if name.startswith("objective.")} == {"aligners", "discriminator"}
    training = {name for name, module in objective.tokenizer.named_modules() if module.training}
    assert {name.split(".")[0] for name in training} == {"decoder"}


def test_a_frozen_encoder_gets_no_gradient_and_no_figures_of_one() -> None:
    objective = build(PLAIN | {"encoder": "frozen"})
    objective.begin_step(0, logged=True)
    assert encoder_gradient(objective) == 0
    figures = loss_of(objective)[1]
    assert "latent_std" in figures and not [name for name in figures if name.startswith("latent_grad")]


# -- collapse --------------------------------------------------------------------------------------------------------


def train_jointly(noise: dict[str, Any], data: Artifact, work: Path) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """200 steps in which the reconstruction succeeds with and without noise, of a VAE that has no variance to learn."""
    tokenizer = KL_VAE["tokenizer"] | {"variance": {"kind": "fixed"}}  # type: ignore[operator]
    changes = {
        "objective": {"kind": "joint", "noise": noise, "masked": False, "reconstruction": {"weight": 150.0}},
        "steps": 200,
        "batch_size": 20,
        "accumulate": 1,
        "optimizer": {"kind": "adamw", "lr": 5e-3},
        "schedule": {},
        "augment": {},
        "snapshots": [],
        "checkpoint_seconds": 1e9,
    }
    task = tiny_task(KL_VAE | {"tokenizer": tokenizer}, **changes)
    facts = train.run(task, {"data": data}, work, Progress("tiny", stream=io.StringIO()))
    return log_of(work), facts.health


@pytest.mark.slow
def test_latents_without_noise_collapse_and_with_it_they_do_not(data: Artifact, tmp_path: Path) -> None:
    collapsed, collapsed_health = train_jointly({"kind": "none"}, data, tmp_path / "none")
    sound, sound_health = train_jointly(ADDITIVE, data, tmp_path / "additive")
    # No density of x + σ ε is sharper than the noise: the nll, without ½ log 2π, stays above ½ + log σ.
    bound = 0.5 + math.log(0.3)
    last = slice(-20, None)
    assert min(row["nll"] for row in sound) > bound - 0.1
    assert max(row["nll"] for row in collapsed[last]) < bound - 1
    assert sum(row["nll"] for row in collapsed[last]) < sum(row["nll"] for row in collapsed[80:100]), (
        "and still falling"
    )
    # It is had by shrinking the latents, until they are lost in what would have been the noise.
    assert collapsed[-1]["latent_std"] < 0.6 * collapsed[0]["latent_std"] < 0.3
    assert sound[-1]["spread_over_noise"] > 0.5 > sound[0]["spread_over_noise"]
    assert collapsed_health["latent_std"]["mean"] < 0.05
    assert sound_health["spread_over_noise"] > 0.5 and sound_health["dead_tokens"] == 0
    assert collapsed[-1]["reconstruction"] < 0.02 and sound[-1]["reconstruction"] < 0.02
