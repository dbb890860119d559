"""Tokenizer and prior trained together, and the decoder alone after them."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from artifacts import store_artifact
from pydantic import ValidationError
from safetensors.torch import load_file
from training_parts import (
    ADDITIVE,
    DECODER,
    GAUSSIAN,
    JOINT,
    KL_VAE,
    MASKED_AE,
    NETWORK,
    SHAPES,
    SIT,
    TARFLOW,
    perturbed_modules,
    phase,
    tiny_data,
    tiny_task,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.data.prepared import Prepared
from mimflow.errors import SpecError
from mimflow.networks.base import FrozenNetwork
from mimflow.nn.noise import add_noise
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.health import Spread
from mimflow.objectives.registry import OBJECTIVES
from mimflow.objectives.terms.pixels import pixel_distance
from mimflow.objectives.terms.spec import Reconstruction
from mimflow.priors.base import NULL_CLASS
from mimflow.progress import Progress
from mimflow.spec.base import all_problems
from mimflow.spec.noise import AdditiveNoise
from mimflow.spec.run import System
from mimflow.spec.shapes import ImageShape
from mimflow.stages import train
from mimflow.system import SystemModules
from mimflow.tokenizers.masked_ae.model import MaskedAutoencoder
from mimflow.training.loop import Splits, Trainer
from mimflow.training.spec import Phase

IMAGE = ImageShape(1, 8)
PLAIN = {"kind": "joint", "noise": ADDITIVE}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("joint") / "data")


def spec_of(objective: dict[str, Any]) -> Any:
    return Phase.model_validate(phase(objective=objective)).objective


def build(objective: dict[str, Any], modules: SystemModules | None = None) -> Any:
    return OBJECTIVES.build(spec_of(objective), modules or perturbed_modules(MASKED_AE), SHAPES)


def batch(count: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(count, 1, 8, 8, generator=generator) * 2 - 1
    return Batch(images, torch.arange(count) % 3, torch.arange(count))


def loss_of(objective: Objective, player: str = "system") -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(7)
    return objective(player, batch(), {})


def trainer_of(objective: Objective, spec: dict[str, Any], data: Artifact, work: Path) -> Trainer:
    made = Phase.model_validate(phase(objective=spec, snapshots=[]) | {"augment": {}})
    prepared = Prepared.open(data)
    splits = Splits(prepared.split("train"), prepared.split("val"))
    needs = list(made.objective.needs)
    progress = Progress("tiny", stream=io.StringIO())
    return Trainer(objective, made, needs, splits, 0, torch.device("cpu"), work, work / "out", progress)


def log_of(work: Path) -> list[dict[str, float]]:
    with (work / "out/log.csv").open() as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


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
        objective.tokenizer.encode_for_training = lambda images, masked, encode=encode: (
            seen.append(masked),
            encode(images, masked),
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
    system, judge = trainer.players
    assert (system.name, judge.name) == ("system", "discriminator")
    assert all(name.startswith("objective.discriminator.") for name in judge.parameters)
    assert {name.split(".")[0] for name in system.parameters} == {"tokenizer", "prior", "objective"}
    assert not system.parameters.keys() & judge.parameters.keys()
    assert {"adversarial", "discriminator_loss", "logits_real", "logits_fake"} <= trainer._step().keys()


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
    """200 steps in which the reconstruction succeeds with and without noise."""
    tokenizer = MASKED_AE["tokenizer"] | {"linear_shortcut": True}  # type: ignore[operator]
    changes = {
        "objective": {"kind": "joint", "noise": noise, "masked": False, "reconstruction": {"weight": 30.0}},
        "steps": 200,
        "batch_size": 20,
        "accumulate": 1,
        "optimizer": {"kind": "adamw", "lr": 5e-3},
        "schedule": {},
        "augment": {},
        "snapshots": [],
        "checkpoint_seconds": 1e9,
    }
    task = tiny_task(MASKED_AE | {"tokenizer": tokenizer}, **changes)
    facts = train.run(task, {"data": data}, work, Progress("tiny", stream=io.StringIO()))
    return log_of(work), facts["health"]


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
    assert sound[-1]["spread_over_noise"] > 1.5 > sound[0]["spread_over_noise"]
    assert collapsed_health["latent_std"]["mean"] < 0.2
    assert sound_health["spread_over_noise"] > 1.5 and sound_health["dead_tokens"] == 0
    assert collapsed[-1]["reconstruction"] < 0.02 and sound[-1]["reconstruction"] < 0.02


# -- the decoder alone -----------------------------------------------------------------------------------------------


def test_phase_two_changes_the_decoder_and_nothing_else(data: Artifact, tmp_path: Path) -> None:
    quiet = Progress("tiny", stream=io.StringIO())
    first = tiny_task(MASKED_AE, objective=PLAIN, steps=2, snapshots=[])
    train.run(first, {"data": data}, tmp_path / "joint", quiet)
    joint = store_artifact(tmp_path / "joint/out", stage="train", name="joint")
    second = tiny_task(MASKED_AE, objective=DECODER, steps=2, snapshots=[], start=[{"phase": "joint", "ema": True}])
    facts = train.run(second, {"data": data, "start0": joint}, tmp_path / "decoder", quiet)
    before = load_file(joint.file("ema.safetensors"))
    decoder = {name for name in before if name.startswith("tokenizer.decoder.")}
    for file in ("weights", "ema"):
        after = load_file(tmp_path / f"decoder/out/{file}.safetensors")
        assert {name for name, tensor in before.items() if not after[name].equal(tensor)} == decoder
    assert facts["parameters"]["tokenizer"] == sum(before[name].numel() for name in decoder)
    assert facts["final"].keys() >= {
        "reconstruction",
        "adversarial",
        "discriminator_loss",
        "logits_real",
        "logits_fake",
    }
    assert "health" not in facts


def test_only_a_tokenizer_without_trained_weights_takes_those_of_its_spec(
    data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []
    monkeypatch.setattr(MaskedAutoencoder, "load_given_weights", lambda self: loaded.append(True))
    task = tiny_task(MASKED_AE, objective=PLAIN, steps=1, snapshots=[])
    train.run(task, {"data": data}, tmp_path, Progress("tiny", stream=io.StringIO()))
    joint = store_artifact(tmp_path / "out", stage="train", name="joint")
    calls = [len(loaded)]
    for modules in (None, ["tokenizer"], ["prior"]):
        start = [{"phase": "joint", "modules": modules}]
        train.build_objective(tiny_task(MASKED_AE, objective=PLAIN, start=start), {"data": data, "start0": joint})
        calls.append(len(loaded))
    assert calls == [1, 1, 1, 2]


def test_the_encoder_and_the_prior_are_in_evaluation_mode() -> None:
    objective = build(DECODER)
    objective.training_mode(["tokenizer"])
    training = {name for name, module in objective.named_modules() if module.training and name}
    assert {name.split(".")[0] for name in training} == {"system", "discriminator"}
    assert {".".join(name.split(".")[:3]) for name in training if "." in name and name.startswith("system")} == {
        "system.tokenizer.decoder"
    }


def test_each_player_is_trained_in_its_own_turn(data: Artifact, tmp_path: Path) -> None:
    objective = build(DECODER)
    trainer = trainer_of(objective, DECODER, data, tmp_path)
    names = {player.name: set(player.parameters) for player in trainer.players}
    assert all(name.startswith("tokenizer.decoder.") for name in names["generator"])
    assert all(name.startswith("objective.discriminator.") for name in names["discriminator"])
    moved: dict[str, set[str]] = {}
    turn = Trainer._turn

    def watched(self: Trainer, player: Any, *arguments: Any) -> dict[str, float]:
        before = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        figures = turn(self, player, *arguments)
        moved[player.name] = {name for name, tensor in self.parameters.items() if not tensor.equal(before[name])}
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_turn", watched)
        trainer._step()
    assert moved["discriminator"] == names["discriminator"]
    assert moved["generator"] == names["generator"]


def test_the_discriminator_sees_what_the_generator_left() -> None:
    objective = build(DECODER)
    carry: dict[str, Any] = {}
    torch.manual_seed(7)
    objective("generator", batch(), carry)
    assert carry["reconstructions"].shape == batch().images.shape and not carry["reconstructions"].requires_grad
    with pytest.raises(KeyError):
        objective("discriminator", batch(), {})


def test_adversaries_come_in_at_their_share_of_the_phase(data: Artifact, tmp_path: Path) -> None:
    late = DECODER | {"adversarial": {"layers": 1, "width": 4, "start": 0.5}}
    task = tiny_task(MASKED_AE, objective=late, steps=8, snapshots=[])
    facts = train.run(task, {"data": data}, tmp_path, Progress("tiny", stream=io.StringIO()))
    rows = log_of(tmp_path)
    assert ["discriminator_loss" in row for row in rows] == [False] * 4 + [True] * 4
    assert ["adversarial" in row for row in rows] == [False] * 4 + [True] * 4
    assert "adversarial" in facts["val"]


def test_without_a_discriminator_there_is_one_player(data: Artifact, tmp_path: Path) -> None:
    objective = build(DECODER | {"adversarial": None})
    assert [player.name for player in objective.players(["tokenizer"])] == ["generator"]
    assert "adversarial" not in loss_of(objective, "generator")[1]


def test_resumed_training_of_both_players_ends_in_the_same_bits(data: Artifact, tmp_path: Path) -> None:
    late = DECODER | {"adversarial": {"layers": 1, "width": 4, "start": 0.5}}
    task = tiny_task(MASKED_AE, objective=late, steps=6, snapshots=[])

    class Stop(io.StringIO):
        def write(self, text: str) -> int:
            if "step 4/" in text:
                raise KeyboardInterrupt
            return super().write(text)

    whole = train.run(task, {"data": data}, tmp_path / "whole", Progress("tiny", 0.0, io.StringIO()))
    with pytest.raises(KeyboardInterrupt):
        train.run(task, {"data": data}, tmp_path / "parts", Progress("tiny", 0.0, Stop()))
    parts = train.run(task, {"data": data}, tmp_path / "parts", Progress("tiny", 0.0, io.StringIO()))
    assert parts["val"] == whole["val"]
    for name in ("weights.safetensors", "ema.safetensors", "log.csv"):
        assert (tmp_path / "parts/out" / name).read_bytes() == (tmp_path / "whole/out" / name).read_bytes()
    # One that ended between its last step and the manifest: only the figures on the val split are made again.
    again = train.run(task, {"data": data}, tmp_path / "whole", Progress("tiny", 0.0, io.StringIO()))
    assert again["val"] == whole["val"]


def test_what_the_decoder_objective_can_not_train_is_said() -> None:
    with pytest.raises(SpecError, match="decoder trains the tokenizer's decoder, and this tokenizer has none"):
        build(DECODER, SystemModules(System.model_validate(TARFLOW), SHAPES))
    with pytest.raises(SpecError, match="trains: prior: objective decoder trains the tokenizer's decoder"):
        build(DECODER).players(["prior"])
    with pytest.raises(ValidationError, match="masked"):
        spec_of({"kind": "decoder", "noise": ADDITIVE})


# -- what specs refuse -----------------------------------------------------------------------------------------------


def problems(objective: dict[str, Any], system: dict[str, Any]) -> list[tuple[Any, ...]]:
    spec = spec_of(objective)
    made = System.model_validate(system)
    return [(*problem.path, problem.message) for problem in (*all_problems(spec), *spec.system_problems(made, IMAGE))]


AUXILIARY = {"network": NETWORK, "width": 8, "layers": 1, "heads": 2}
UNMASKED = MASKED_AE | {"tokenizer": MASKED_AE["tokenizer"] | {"mask": {"kind": "none"}}}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("objective", "system", "wanted"),
    [
        (JOINT, MASKED_AE, []),
        (
            PLAIN | {"masked": False, "auxiliary": [AUXILIARY]},
            MASKED_AE,
            [("auxiliary", 0, "mask_only", "only masked patches count, and none is masked")],
        ),
        (
            PLAIN | {"auxiliary": [AUXILIARY]},
            UNMASKED,
            [("auxiliary", 0, "mask_only", "only masked patches count, and the tokenizer masks none")],
        ),
        (PLAIN | {"masked": False, "auxiliary": [AUXILIARY | {"mask_only": False}]}, UNMASKED, []),
        (
            PLAIN | {"auxiliary": [AUXILIARY | {"heads": 4}]},
            MASKED_AE,
            [("auxiliary", 0, "heads", "4 heads do not cut the width 8 into multiples of 4")],
        ),
        (
            PLAIN | {"alignment": [{"network": NETWORK | {"input_size": 12}}]},
            MASKED_AE,
            [("alignment", 0, "mode", "4 tokens can't be repeated to the 9 places of the network's map")],
        ),
        (
            PLAIN | {"alignment": [{"network": NETWORK, "where": {"kind": "prior", "block": 2, "layer": 0}}]},
            MASKED_AE,
            [("alignment", 0, "where", "block", "there is no block 2 among 2")],
        ),
        (
            PLAIN | {"alignment": [{"network": NETWORK, "where": {"kind": "prior", "block": 0, "layer": 0}}]},
            MASKED_AE | {"prior": {"kind": "class_gaussian"}},
            [("alignment", 0, "where", "the prior 'class_gaussian' has no layers")],
        ),
        (
            PLAIN
            | {
                "alignment": [
                    {"network": NETWORK, "where": {"kind": "prior", "block": block, "layer": 0}} for block in (0, 1)
                ]
            },
            MASKED_AE,
            [("alignment", 1, "where", "another layer of the prior than that above")],
        ),
        (PLAIN, GAUSSIAN, [("kind", "the tokenizer 'pixel' has no decoder to train")]),
        (
            PLAIN | {"adversarial": {"layers": 3}},
            MASKED_AE,
            [("adversarial", "layers", "images of 8 pixels are too small for so many")],
        ),
        (
            PLAIN
            | {
                "encoder": "frozen",
                "prior_gradient_from": 0.5,
                "alignment": [{"network": NETWORK}],
                "auxiliary": [AUXILIARY],
            },
            MASKED_AE,
            [
                ("prior_gradient_from", "no gradient reaches a frozen encoder"),
                ("alignment", 0, "where", "aligns the latents of a frozen encoder"),
                ("auxiliary", 0, "predicts from the latents of a frozen encoder"),
            ],
        ),
        (
            PLAIN
            | {
                "encoder": "frozen",
                "alignment": [{"network": NETWORK, "where": {"kind": "prior", "block": 0, "layer": 0}}],
            },
            MASKED_AE,
            [],
        ),
        (
            DECODER | {"adversarial": {"layers": 3}},
            MASKED_AE,
            [("adversarial", "layers", "images of 8 pixels are too small for so many")],
        ),
    ],
)
def test_problems_have_their_place(
    objective: dict[str, Any], system: dict[str, Any], wanted: list[tuple[Any, ...]]
) -> None:
    assert problems(objective, system) == wanted
