"""What large models are cut into, and what is done to it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import tensors, train_one
from training_parts import CONVNET, KL_VAE, MASKED_AE, SIT, perturbed_modules, results

from mimflow.artifacts.manifest import Artifact
from mimflow.training.layers import layers_of

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
    """By dynamo's own backend: inductor needs a compiler, and its kernels are PyTorch's to test."""
    made: list[Any] = []

    def compiled(function: Any) -> Any:
        made.append(function)
        return compile_eagerly(function)

    compile_eagerly = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", compiled)
    train_one("nll", data, tmp_path / "as it is", steps=4)
    assert not made
    train_one("nll", data, tmp_path / "compiled", compute={"compile": True, "activation_checkpointing": True}, steps=4)
    assert len(made) == 2
    expected = tensors(tmp_path / "as it is")
    for key, tensor in tensors(tmp_path / "compiled").items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-5, atol=1e-7)
