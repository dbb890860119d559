"""Objectives of several players: turns, optimisers, draws and resumes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_parts import (
    CLASSIFY,
    CONVNET,
    SHAPES,
    SignalAt,
    phase,
)

from mimflow.artifacts.log import log_text
from mimflow.artifacts.manifest import Artifact
from mimflow.data.prepared import Prepared
from mimflow.errors import (
    Interrupted,
)
from mimflow.objectives.base import Batch, Objective, Player
from mimflow.objectives.spec import CrossEntropySpec
from mimflow.progress import Progress
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.training.loop import Splits, Trainer
from mimflow.training.spec import Phase

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


class Duel(Objective):
    """A classifier that minimises its own loss, and a critic of its detached features, from step 3 on."""

    def __init__(self, modules: SystemModules):
        super().__init__(CrossEntropySpec(), modules, SHAPES)
        self.critic = nn.Linear(6, 1)
        self.turns: list[str] = []
        self.critic_learns: list[bool] = []
        self.draws: list[float] = []

    def players(self, trains: list[str]) -> list[Player]:
        classifier = {f"classifier.{name}": p for name, p in self.system.classifier.named_parameters()}
        critic = {f"objective.critic.{name}": p for name, p in self.critic.named_parameters()}
        return [Player("classifier", classifier), Player("critic", critic, start=3)]

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.training:  # and not where the log's rows are validated between steps
            self.turns.append(player)
            self.critic_learns.append(self.critic.weight.requires_grad)
            self.draws.append(torch.rand(()).item())
        if player == "critic":
            return self.critic(carry["features"]).square().mean(), {"criticism": carry["features"].mean()}
        features, logits = self.system.classifier(batch.images)
        carry["features"] = features.detach()
        return nn.functional.cross_entropy(logits, batch.labels) + 0 * self.critic(features).mean(), {}


def duel(data: Artifact, work: Path, stream: io.StringIO, **changes: Any) -> Trainer:
    torch.manual_seed(0)
    objective = Duel(SystemModules(System.model_validate(CONVNET), SHAPES))
    prepared = Prepared.open(data)
    plain = {"objective": CLASSIFY, "steps": 8, "accumulate": 1, "snapshots": []}
    settings = Phase.model_validate(phase(**plain | changes))
    return Trainer(
        objective,
        settings,
        "main",
        ["classifier"],
        Splits(prepared.split("train"), prepared.split("val")),
        0,
        CPU,
        work,
        work / "out",
        Progress("duel", interval=0.0, stream=stream),
        "0" * 64,
    )


def test_players_take_turns(data: Artifact, tmp_path: Path) -> None:
    trainer = duel(data, tmp_path, io.StringIO())
    critic = trainer.objective.critic.weight.detach().clone()
    trainer.run()
    # Steps 3 to 7 have both.
    both, one = ["classifier", "critic"], ["classifier"]
    assert trainer.objective.turns == [*one * 3, *both * 5]
    # A network takes gradients in its own turns alone: it is a fixed measure in the others'.
    learns = [player == "critic" for player in trainer.objective.turns]
    assert trainer.objective.critic_learns == learns
    assert ["critic_loss" in row for row in trainer.log.rows] == [False] * 3 + [True] * 5
    assert not trainer.objective.critic.weight.equal(critic)
    assert trainer.ema is not None
    assert set(trainer.ema.averages) == {name for name in trainer.parameters if name.startswith("classifier.")}


def test_a_player_moves_only_its_own_and_by_its_own_optimiser(data: Artifact, tmp_path: Path) -> None:
    trainer = duel(data, tmp_path, io.StringIO())
    trainer.run()
    assert trainer.optimisers["critic"].param_groups[0]["lr"] == trainer.last_lr
    steps = {name: [float(s["step"]) for s in o.state.values()] for name, o in trainer.optimisers.items()}
    assert set(steps["classifier"]) == {8.0}
    assert set(steps["critic"]) == {5.0}


def test_every_step_part_and_player_draws_anew_and_the_same_in_every_run(data: Artifact, tmp_path: Path) -> None:
    draws = []
    for name in ("one", "other"):
        trainer = duel(data, tmp_path / name, io.StringIO(), accumulate=2)
        trainer.run()
        draws.append(trainer.objective.draws)
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == len(draws[0])


def test_several_players_resume_as_if_never_stopped(data: Artifact, tmp_path: Path) -> None:
    whole = duel(data, tmp_path / "whole", io.StringIO())
    whole.run()
    for step in (2, 5):
        with pytest.raises(Interrupted):
            duel(data, tmp_path / "parts", SignalAt(step)).run()
    parts = duel(data, tmp_path / "parts", io.StringIO())
    parts.run()
    assert log_text(parts.log.rows) == log_text(whole.log.rows)
    expected = whole.objective.state()
    assert all(tensor.equal(expected[name]) for name, tensor in parts.objective.state().items())
    assert log_text(whole.log.rows).splitlines()[1].endswith(",,,")  # the critic's figures, which step 1 does not have
