"""What a discriminator's spec adds to the hinge losses: an adaptive weight, LeCAM and R1."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_parts import DECODER, MASKED_AE, SHAPES, TARFLOW, perturbed_modules, phase, tiny_data, tiny_task

from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.registry import OBJECTIVES
from mimflow.objectives.terms.adversarial import Discriminator, adaptive_weight, gradient_penalty, lecam
from mimflow.objectives.terms.spec import Adversarial
from mimflow.progress import Progress
from mimflow.spec.shapes import ImageShape
from mimflow.stages import train
from mimflow.system.spec import System
from mimflow.training.spec import Phase

SMALL = {"layers": 1, "width": 4}
EVERYTHING = SMALL | {"adaptive": True, "lecam": 0.5, "r1": 0.25, "weight": 0.1}


def built(adversarial: dict[str, Any]) -> Objective:
    spec = Phase.model_validate(phase(objective=DECODER | {"adversarial": adversarial})).objective
    return OBJECTIVES.build(spec, perturbed_modules(MASKED_AE), SHAPES)


def batch(count: int = 4) -> Batch:
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return Batch(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def test_adaptive_weight_by_hand() -> None:
    last = nn.Parameter(torch.tensor([1.0, 2.0]))
    reconstruction, adversarial = (last * torch.tensor([3.0, 4.0])).sum(), (last * torch.tensor([0.0, 2.0])).sum()
    weight = adaptive_weight(reconstruction, adversarial, last)
    assert weight.item() == pytest.approx(5 / (2 + 1e-4)) and not weight.requires_grad
    assert adaptive_weight(1e9 * reconstruction, adversarial, last).item() == pytest.approx(1e4)
    # Validation trains nothing, and compares nothing.
    assert adaptive_weight(reconstruction, adversarial, last.detach()) == 0


def test_lecam_by_hand() -> None:
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, -1.0])
    # Images against the average of reconstructions 0.2: relu(0.8), relu(−2.2); 0.3 against reconstructions: 0, 1.3.
    assert lecam(real, fake, torch.tensor(0.3), torch.tensor(0.2)).item() == pytest.approx(0.64 / 2 + 1.69 / 2)


def test_gradient_penalty_of_a_linear_map_is_half_its_squared_norm() -> None:
    images, weights = torch.rand(3, 1, 2, 2, requires_grad=True), torch.arange(4.0, requires_grad=True)
    maps = torch.stack([images.flatten(1) @ weights, images.flatten(1) @ weights], 1)
    penalty = gradient_penalty(maps, images)
    assert penalty.item() == pytest.approx(0.5 * (0 + 1 + 4 + 9))
    penalty.backward()
    torch.testing.assert_close(weights.grad, weights.detach())


def test_the_discriminators_loss_is_the_sum_of_what_is_logged() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(Adversarial.model_validate(EVERYTHING), 1)
    hinge, _ = _copy(discriminator, SMALL).loss(batch().images, -batch().images)
    loss, figures = discriminator.loss(batch().images, -batch().images)
    torch.testing.assert_close(loss, hinge + 0.5 * figures["lecam"] + 0.25 * figures["r1"])
    assert figures["r1"] > 0 and figures["lecam"] > 0
    loss.backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def _copy(discriminator: Discriminator, changes: dict[str, Any]) -> Discriminator:
    """The same network without what `changes` leaves out."""
    other = Discriminator(Adversarial.model_validate(changes), 1)
    other.network.load_state_dict(discriminator.network.state_dict())
    return other


def test_lecams_averages_follow_the_mean_logits_and_are_saved() -> None:
    discriminator = Discriminator(Adversarial.model_validate(SMALL | {"lecam": 1e-3}), 1)
    _, figures = discriminator.loss(batch().images, -batch().images)
    assert discriminator.mean_real.item() == pytest.approx(0.001 * figures["logits_real"].item())
    assert discriminator.mean_fake.item() == pytest.approx(0.001 * figures["logits_fake"].item())
    assert {"mean_real", "mean_fake"} <= discriminator.state_dict().keys()
    assert not any("mean" in name for name in _copy(discriminator, SMALL).state_dict() if "network" not in name)


def test_an_adaptive_weight_compares_gradients_at_the_decoders_last_layer() -> None:
    objective, plain = built(SMALL | {"adaptive": True, "weight": 0.1}), built(SMALL | {"weight": 0.0})
    plain.load_state(objective.state())
    results = []
    for one in (objective, plain):
        torch.manual_seed(1)
        results.append(one("generator", batch(), {}))
    (loss, figures), (rest, _) = results
    torch.testing.assert_close(loss, rest + figures["adversarial_weight"] * figures["adversarial"])
    (last,) = torch.autograd.grad(rest, plain.tokenizer.last_layer())
    (both,) = torch.autograd.grad(loss, objective.tokenizer.last_layer())
    # What the adversarial term adds has a tenth of the other terms' gradient there.
    assert ((both - last).norm() / last.norm()).item() == pytest.approx(0.1, rel=0.05)


@pytest.fixture
def resumable(tmp_path: Path) -> tuple[Any, Any]:
    data = tiny_data(tmp_path / "data")
    return tiny_task(MASKED_AE, objective=DECODER | {"adversarial": EVERYTHING}, steps=5, snapshots=[0.5]), data


@pytest.mark.slow
def test_a_run_with_everything_is_resumed_in_the_same_bits(resumable: tuple[Any, Any], tmp_path: Path) -> None:
    task, data = resumable

    class Stop(io.StringIO):
        def write(self, text: str) -> int:
            if "step 3/" in text:
                raise KeyboardInterrupt
            return super().write(text)

    whole = train.run(task, {"data": data}, tmp_path / "whole", Progress("tiny", 0.0, io.StringIO()))
    with pytest.raises(KeyboardInterrupt):
        train.run(task, {"data": data}, tmp_path / "parts", Progress("tiny", 0.0, Stop()))
    train.run(task, {"data": data}, tmp_path / "parts", Progress("tiny", 0.0, io.StringIO()))
    name = "out/weights.safetensors"
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert whole.final.keys() >= {"adversarial_weight", "discriminator_loss", "lecam", "r1"}
    assert whole.val["adversarial_weight"] == 0


def test_a_tokenizer_without_a_decoder_is_refused() -> None:
    spec = Phase.model_validate(phase(objective=DECODER)).objective
    (problem,) = spec.system_problems(System.model_validate(TARFLOW), ImageShape(1, 8))
    assert (problem.path, problem.message) == (("kind",), "the tokenizer 'pixel' has no decoder to train")
