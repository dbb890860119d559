"""What shipped twins decode passes through their decoder's transformer: the first steps of their own training.

That a whole training decodes more than a mean image is for its health to say, under every table that it makes."""

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
from mimflow.objectives.spec import ReconstructingSpec
from mimflow.products.registry import open_plan
from mimflow.progress import Progress
from mimflow.stages import prepare, train
from mimflow.tokenizers.masked_ae.spec import MaskedAeSpec
from mimflow.training.batches import InOrder
from mimflow.training.loop import Splits, Trainer

STEPS = 40
"""A few, of thousands: what goes past a transformer is learned before it is."""
DECODED = 1e-5
"""Share of the images' variance that is decoded by then, in order of magnitude: shares of less say nothing."""

PLAN = open_plan(REPOSITORY)
TWINS = [
    name
    for name, loaded in sorted(PLAN.workspace.runs.items())
    if loaded.file.parent.name == "mini"
    and isinstance(objective := next(iter(loaded.spec.phases.values())).objective, ReconstructingSpec)
    and isinstance(loaded.spec.tokenizer, MaskedAeSpec)
]
"""Those whose first phase trains a decoder with a transformer."""


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
    assert {"mimflow-mnist5k", "mimflow-unmasked-mnist5k", "mimflow-digits", "mimflow-photos"} <= set(TWINS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_what_a_twin_decodes_passes_through_its_transformer(
    name: str, splits: dict[str, Splits], tmp_path: Path
) -> None:
    run = PLAN.workspace.runs[name].spec
    phase_name, phase = next(iter(run.phases.items()))
    objective, of = train.build_objective(PLAN.train(name, phase_name, 0).task, {}), splits[run.dataset]
    cpu, quiet = torch.device("cpu"), Progress(name, stream=io.StringIO())
    trainer = Trainer(objective, phase, phase_name, phase.trained, of, 0, cpu, tmp_path, tmp_path, quiet, "a job")
    objective.prepare(InOrder(some(of.train), phase.batch_size, cpu))
    for _ in range(STEPS):
        trainer._step()
        trainer.step += 1
    health = decoding_facts(trainer.objective.tokenizer, trainer.val)
    assert health["decoded_variance"] > DECODED
    assert health["decoded_through_transformer"] >= SOUND_SHARE


def test_the_tables_in_the_documents_have_no_warnings() -> None:
    tables = [REPOSITORY / "docs" / f"{name}.md" for name in ("table1", "systems", "mimflow-masking", "photos")]
    texts = [table.read_text(encoding="utf-8") for table in tables]
    assert "## Protocol" in texts[0] and not any("## Warnings" in text for text in texts)
