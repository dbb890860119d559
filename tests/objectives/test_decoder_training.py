"""The decoder trained alone, after the tokenizer and the prior."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from artifacts import store_artifact
from joint_parts import PLAIN, batch, build, log_of, loss_of, spec_of, trainer_of
from pydantic import ValidationError
from safetensors.torch import load_file
from training_parts import (
    ADDITIVE,
    DECODER,
    MASKED_AE,
    TARFLOW,
    tiny_data,
    tiny_task,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.progress import Progress
from mimflow.stages import train
from mimflow.system.spec import System
from mimflow.tokenizers.masked_ae.model import MaskedAutoencoder
from mimflow.training.loop import Trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("decoder") / "data")


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
    assert facts.parameters["tokenizer"] == sum(before[name].numel() for name in decoder)
    assert facts.final.keys() >= {
        "reconstruction",
        "adversarial",
        "discriminator_loss",
        "logits_real",
        "logits_fake",
    }
    assert facts.health.keys() == {"decoded_variance", "decoded_through_transformer"}, "latents are not its own"


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
    assert "adversarial" in facts.val


def test_without_a_discriminator_there_is_one_player(data: Artifact, tmp_path: Path) -> None:
    objective = build(DECODER | {"adversarial": None})
    assert [player.name for player in objective.players(["tokenizer"])] == ["generator"]
    assert "adversarial" not in loss_of(objective, "generator")[1]


@pytest.mark.slow
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
    assert parts.val == whole.val
    for name in ("weights.safetensors", "ema.safetensors", "log.csv"):
        assert (tmp_path / "parts/out" / name).read_bytes() == (tmp_path / "whole/out" / name).read_bytes()
    # One that ended between its last step and the manifest: only the figures on the val split are made again.
    again = train.run(task, {"data": data}, tmp_path / "whole", Progress("tiny", 0.0, io.StringIO()))
    assert again.val == whole.val


def test_what_the_decoder_objective_can_not_train_is_said() -> None:
    (problem,) = spec_of(DECODER).training_problems(System.model_validate(TARFLOW), ["tokenizer", "prior"])
    assert problem.path == ("trains",)
    assert problem.message == "['tokenizer', 'prior']: objective 'decoder' trains the tokenizer's decoder"
    with pytest.raises(ValidationError, match="masked"):
        spec_of({"kind": "decoder", "noise": ADDITIVE})
