"""Shipped twins that train a tokenizer come to life: the first steps of their own training, on their real data."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from artifacts import store_artifact
from projects import REPOSITORY

from mimflow.data.prepared import Prepared, Split
from mimflow.objectives.health import SOUND_SHARE, decoding_facts
from mimflow.objectives.spec import DecoderTrainingSpec, ReconstructingSpec
from mimflow.products.registry import open_plan
from mimflow.progress import Progress
from mimflow.stages import prepare, train
from mimflow.training.batches import InOrder
from mimflow.training.loop import Splits, Trainer

STEPS = 800
"""How many a twin is given."""
EVERY = 50
"""Steps after which it is asked whether it lives; then it need not go on."""

PLAN = open_plan(REPOSITORY)
TWINS = [
    name
    for name, loaded in sorted(PLAN.workspace.runs.items())
    if loaded.file.parent.name == "mini"
    and isinstance(objective := next(iter(loaded.spec.phases.values())).objective, ReconstructingSpec)
    and not isinstance(objective, DecoderTrainingSpec)
]
"""Those whose first phase trains a tokenizer, alone or with a prior."""


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Splits]:
    """What each of their data sets is trained on, and every few images of what it is checked on."""
    found = {}
    for name in {PLAN.workspace.runs[twin].spec.dataset for twin in TWINS}:
        work: Path = tmp_path_factory.mktemp(name)
        facts = prepare.run(PLAN.prepare(name).task, {}, work, Progress(name, stream=io.StringIO()))
        prepared = Prepared.open(store_artifact(work / "out", stage="prepare", name=name, facts=facts))
        found[name] = Splits(prepared.split("train"), some(prepared.split("val")))
    return found


def some(split: Split) -> Split:
    """About 64 images of a split, spread over it."""
    every = len(split.labels) // 64
    return replace(split, images=split.images[::every], labels=split.labels[::every])


def test_there_are_such_twins() -> None:
    assert {"mimflow-mnist5k", "simflow-mnist5k", "kl-vae-mnist5k"} <= set(TWINS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_comes_to_life(name: str, splits: dict[str, Splits], tmp_path: Path) -> None:
    """Within its steps half of the images' variance is decoded, and half of that by way of the decoder's transformer."""
    run = PLAN.workspace.runs[name].spec
    phase_name, phase = next(iter(run.phases.items()))
    # Most processors only emulate bf16.
    phase = phase.model_copy(update={"precision": "fp32"})
    objective, of = train.build_objective(PLAN.train(name, phase_name, 0).task, {}), splits[run.dataset]
    cpu, quiet = torch.device("cpu"), Progress(name, stream=io.StringIO())
    trainer = Trainer(objective, phase, phase_name, phase.trained, of, 0, cpu, tmp_path, tmp_path, quiet)
    objective.prepare(InOrder(some(of.train), phase.batch_size, cpu))
    health: dict[str, float] = {}
    while health.get("decoded_variance", 0.0) < SOUND_SHARE:
        assert trainer.step < STEPS, f"a mean image after {STEPS} steps: {health}"
        for _ in range(EVERY):
            trainer._step()
            trainer.step += 1
        health = decoding_facts(trainer.objective.tokenizer, trainer.val)
    assert health.get("decoded_through_transformer", 1.0) >= SOUND_SHARE
