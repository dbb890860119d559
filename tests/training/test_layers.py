"""What large models are cut into, and what is done to it."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import tensors, train_one
from torch import nn
from training_parts import CONVNET, KL_VAE, MASKED_AE, SIT, perturbed_modules, results

from mimflow.artifacts.manifest import Artifact
from mimflow.compute.spec import Compute
from mimflow.tokenizers.kl_vae.layers import ResidualBlock
from mimflow.training.layers import layers_of, prepare_layers

pytestmark = pytest.mark.slow

LAYERS: list[tuple[Any, set[str]]] = [
    (
        MASKED_AE,
        {
            "tokenizer.encoder.vit.blocks.0",
            "tokenizer.decoder.vit.blocks.0",
            "prior.blocks.0.transformer.layers.0",
            "prior.blocks.1.transformer.layers.0",
        },
    ),
    (
        KL_VAE,
        {
            *("tokenizer.encoder.down.0.block.0", "tokenizer.encoder.down.1.block.0"),
            "tokenizer.encoder.down.1.attn.0",
            # The decoder has a residual block more a level than the encoder (LDM).
            *(f"tokenizer.decoder.up.{level}.block.{block}" for level in (0, 1) for block in (0, 1)),
            *("prior.blocks.0.transformer.layers.0", "prior.blocks.1.transformer.layers.0"),
        },
    ),
    (SIT, {"prior.transformer.layers.0"}),
    (CONVNET, set()),
]


@pytest.mark.parametrize(("system", "expected"), LAYERS, ids=["masked_ae", "kl_vae", "sit", "convnet"])
def test_layers_are_the_innermost_members_of_lists(system: dict[str, Any], expected: set[str]) -> None:
    modules = perturbed_modules(system)
    names = {module: name for name, module in modules.named_modules()}
    assert {names[layer] for layer in layers_of(modules)} == expected


@pytest.mark.parametrize("name", ["nll", "joint, frozen encoder, LeCAM"])
def test_activations_that_are_computed_again_give_the_same_bits(name: str, data: Artifact, tmp_path: Path) -> None:
    train_one(name, data, tmp_path / "kept", steps=4)
    train_one(name, data, tmp_path / "again", compute={"activation_checkpointing": True}, steps=4)
    assert results(tmp_path / "again") == results(tmp_path / "kept")


def test_compiled_layers_train_as_others_do(data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By dynamo's own backend, which is quick."""
    made: list[Any] = []

    def compiled(function: Any, **options: Any) -> Any:
        made.append(function)
        return compile_eagerly(function, **options)

    compile_eagerly = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", compiled)
    train_one("nll", data, tmp_path / "as it is", steps=4)
    assert not made
    train_one("nll", data, tmp_path / "compiled", compute={"compile": True, "activation_checkpointing": True}, steps=4)
    assert len(made) == 2
    expected = tensors(tmp_path / "as it is")
    for key, tensor in tensors(tmp_path / "compiled").items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's own compiler needs g++ on a CPU")
def test_what_pytorchs_own_compiler_makes_can_be_gone_backward_through_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adaptive weights and logged gradients do, in every joint system, if not in every step."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    layers = nn.ModuleList([ResidualBlock(4, 4, groups=2)])
    parameters = list(layers.parameters())
    x = torch.randn(2, 4, 4, 4)
    expected = torch.autograd.grad(layers[0](x).square().sum(), parameters)
    prepare_layers(layers, Compute(compile=True))
    torch.autograd.grad(layers[0](x).square().sum(), parameters)
    loss = layers[0](x).square().sum()
    torch.autograd.grad(loss, parameters, retain_graph=True)
    for found, gradient in zip(torch.autograd.grad(loss, parameters), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5)
