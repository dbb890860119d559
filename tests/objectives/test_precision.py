"""Perceptual networks and discriminators compute in fp32 where training computes in bf16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from joint_parts import batch, build
from torch import nn
from training_parts import ADDITIVE, KL_VAE, NETWORK, perturbed_modules

from mimflow.features.spec import EfficientnetLite0Spec
from mimflow.objectives.terms.perceptual import PerceptualDistance
from mimflow.objectives.terms.spec import LpipsPerceptual
from mimflow.spec.weights import FileWeights

ADVERSARIAL = {"layers": 1, "width": 4, "r1": 0.1, "lecam": 0.1, "adaptive": True}


def watch(module: nn.Module) -> list[torch.dtype]:
    """The precisions that this network's convolutions take and give, filled as it runs."""
    seen: list[torch.dtype] = []

    def note(_: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        seen.extend((inputs[0].dtype, output.dtype))

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    return seen


@pytest.fixture(scope="module")
def watched() -> dict[str, list[torch.dtype]]:
    """Both players' turns under autocast, with what each network computed in."""
    objective = build(
        {
            "kind": "joint",
            "noise": ADDITIVE,
            "perceptual": [{"kind": "features", "network": NETWORK}],
            "adversarial": ADVERSARIAL,
        },
        perturbed_modules(KL_VAE),
    )
    objective.begin(2)
    network = objective.targets.network(EfficientnetLite0Spec(stage=2, input_size=16), torch.device("cpu"))
    seen = {
        "perceptual": watch(network),
        "discriminator": watch(objective.discriminator),
        "tokenizer": watch(objective.tokenizer),
    }
    carry: dict[str, Any] = {}
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective("system", batch(), carry)
        of_discriminator, _ = objective("discriminator", batch(), carry)
    (loss + of_discriminator).backward()
    return seen


@pytest.mark.parametrize("name", ["perceptual", "discriminator"])
def test_what_judges_images_computes_in_fp32(watched: dict[str, list[torch.dtype]], name: str) -> None:
    assert set(watched[name]) == {torch.float32}


def test_what_is_judged_computes_in_bf16(watched: dict[str, list[torch.dtype]]) -> None:
    assert torch.bfloat16 in watched["tokenizer"]


def test_a_given_perceptual_network_computes_in_fp32() -> None:
    class Distance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, reconstructions: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
            return (self.conv(reconstructions) - self.conv(images)).square().mean()

    file = FileWeights(file="x", sha256=None)
    term = PerceptualDistance(LpipsPerceptual(vgg=file, linear=file), None)  # type: ignore[arg-type]
    term._network = Distance()  # type: ignore[assignment]
    seen = watch(term._network)
    with torch.autocast("cpu", torch.bfloat16):
        distance = term(torch.zeros(2, 1, 8, 8, dtype=torch.bfloat16), batch(2))
    assert distance.dtype == torch.float32 and set(seen) == {torch.float32}
