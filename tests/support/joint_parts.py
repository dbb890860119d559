"""Objectives over a tiny masked autoencoder, for the tests of joint training and of the decoder alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch
from training_parts import (
    ADDITIVE,
    MASKED_AE,
    NETWORK,
    SHAPES,
    perturbed_modules,
    phase,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.data.prepared import Prepared
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.registry import OBJECTIVES
from mimflow.progress import Progress
from mimflow.spec.shapes import ImageShape
from mimflow.system.modules import SystemModules
from mimflow.training.loop import Splits, Trainer
from mimflow.training.spec import Phase

IMAGE = ImageShape(1, 8)
PLAIN = {"kind": "joint", "noise": ADDITIVE}
AUXILIARY = {"network": NETWORK, "width": 8, "layers": 1, "heads": 2}


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
    return Trainer(
        objective, made, "main", needs, splits, 0, torch.device("cpu"), work, work / "out", progress, "0" * 64
    )


def log_of(work: Path) -> list[dict[str, float]]:
    with (work / "out/log.csv").open() as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
