"""What memory a phase needs: found without any, against what PyTorch's profiler sees of a real step on the CPU."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from projects import REPOSITORY
from torch.profiler import ProfilerActivity, profile
from training_parts import (
    AUTOENCODER,
    DECODER,
    JOINT_FROZEN,
    KL_VAE,
    MASKED_AE,
    NLL,
    SHAPES,
    SIT,
    TARFLOW,
    VELOCITY,
    phase,
    tiny_data,
)

from mimflow.data.prepared import Prepared
from mimflow.objectives.base import Batch
from mimflow.objectives.registry import OBJECTIVES
from mimflow.plan.memory import describe_memory
from mimflow.products.registry import open_plan
from mimflow.progress import Progress
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.training.footprint import Footprint, footprint
from mimflow.training.loop import Splits, Trainer
from mimflow.training.spec import Phase

IMAGES = 24
"""Of a part; two and four are what the line is drawn through."""


def wider(system: dict[str, Any]) -> dict[str, Any]:
    """The same system with priors and vision transformers wide enough that activations are more than their overhead."""
    changed = {name: dict(part) for name, part in system.items()}
    if "prior" in changed:
        changed["prior"] |= {"width": 64, "head_width": 16}
    if changed["tokenizer"]["kind"] == "masked_ae":
        vit = {"width": 64, "layers": 2, "heads": 2}
        changed["tokenizer"] |= {"encoder": vit, "decoder": vit}
    return changed


def really(system: System, spec: Phase) -> int:
    """The most bytes that a part of `IMAGES` takes at once beyond weights, gradients and itself, as it is allocated."""
    torch.manual_seed(0)
    objective = OBJECTIVES.build(spec.objective, SystemModules(system, SHAPES), SHAPES)
    objective.begin(1)
    players = objective.players(spec.trained)
    objective.training_mode(spec.trained)
    batch = Batch(torch.rand(IMAGES, 1, 8, 8) * 2 - 1, torch.arange(IMAGES) % 3, torch.arange(IMAGES))
    peaks = []
    for again in (False, True):  # at first gradients and frozen networks are made
        carry: dict[str, Any] = {}
        now = peak = 0
        for player in players:
            objective.requires_grad_(False)
            for parameter in player.parameters.values():
                parameter.requires_grad_(True)
            objective.begin_step(0, logged=False)
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
                loss, _ = objective(player.name, batch, carry)
                loss.backward()
                del loss
            events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
            for event in sorted(events, key=lambda event: event.start_ns()):
                now += event.nbytes()
                peak = max(peak, now)
        peaks.append(peak)
        assert again or peak > 0
    return peaks[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "objective"),
    [
        pytest.param(TARFLOW, NLL, id="tarflow"),
        pytest.param(SIT, VELOCITY, id="sit"),
        pytest.param(MASKED_AE, DECODER, id="masked_ae-decoder"),
        pytest.param(MASKED_AE, JOINT_FROZEN, id="masked_ae-joint"),
        pytest.param(KL_VAE, {**AUTOENCODER, "perceptual": []}, id="kl_vae"),
    ],
)
def test_what_a_part_takes_is_within_a_fifth_of_what_a_real_one_does(
    system: dict[str, Any], objective: dict[str, Any]
) -> None:
    spec = Phase.model_validate(phase(objective=objective, augment={}))
    made = System.model_validate(wider(system))
    found = footprint(made, spec, SHAPES)
    assert found.rest + IMAGES * found.activations == pytest.approx(really(made, spec), rel=0.2)


@pytest.mark.slow
def test_weights_moments_and_averages_are_those_of_a_training(tmp_path: Path) -> None:
    spec = Phase.model_validate(phase(objective=DECODER, steps=1, snapshots=[]) | {"augment": {}})
    made = System.model_validate(MASKED_AE)
    objective = OBJECTIVES.build(spec.objective, SystemModules(made, SHAPES), SHAPES)
    prepared = Prepared.open(tiny_data(tmp_path / "data"))
    trainer = Trainer(
        objective,
        spec,
        "main",
        spec.trained,
        Splits(prepared.split("train"), prepared.split("val")),
        0,
        torch.device("cpu"),
        tmp_path,
        tmp_path / "out",
        Progress("tiny", stream=io.StringIO()),
        "0" * 64,
    )
    trainer.run()
    found = footprint(made, spec, SHAPES)

    def size(tensors: dict[str, torch.Tensor]) -> int:
        return sum(tensor.nbytes for tensor in tensors.values())

    tensors = [*objective.parameters(), *objective.buffers()]  # of these checkpoints leave some tables out
    assert found.parameters == sum(tensor.nbytes for tensor in tensors) >= size(objective.state())
    assert trainer.ema is not None and found.averages == size(trainer.ema.averages)
    moments = trainer.state.moments()
    steps = {name: tensor for name, tensor in moments.items() if name.endswith(".step")}
    assert found.moments == size(moments) - size(steps)
    assert found.gradients == 4 * found.trained == 4 * sum(p.numel() for p in trainer.parameters.values())


LINE = Footprint(10, 0, 20, 40, 10, 20, activations=30, rest=0, trained=5)


def test_what_is_together_is_a_line_in_the_images_of_a_part() -> None:
    assert (LINE.fixed, LINE.total(1), LINE.total(10)) == (100, 130, 400)
    assert (LINE.checkpoint, LINE.result) == (10 + 10 + 40, 10 + 10 + 40)


@pytest.mark.slow
def test_a_plan_says_what_fits_and_how_many_parts_would(tmp_path: Path) -> None:
    (tmp_path / "specs").symlink_to(REPOSITORY / "tests/tiny/specs")
    plan = open_plan(tmp_path)
    text = describe_memory(plan, "tarflow")
    assert text.startswith("tarflow.main: 32 images a step in one part\n") and "fits 80 GB" in text
    task = plan.job("tarflow.main.s0").task
    found = footprint(task.system, task.phase, task.shapes)
    # So much that four images fit, and eight do not, of a device nine tenths of which tensors can fill.
    device = (found.total(4) + found.total(8)) / 2 / 0.9 / 1e9
    assert f"does not fit {device:g} GB: accumulate: 8 would" in describe_memory(plan, "tarflow", device)
    assert "not with one image at once" in describe_memory(plan, "tarflow", found.fixed / 1e9)
    table = describe_memory(plan, "table1")
    assert "gaussian.main: solved in closed form" in table and "classifier.main: " in table
    assert "tarflow.s0.guided: 200 images, 0.01 MB on disk" in table
