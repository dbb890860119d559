"""Weights that a KL-VAE starts from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mimflow.weights.tensors import read_tensors, require_fit

PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
"""What names of the autoencoder's own tensors begin with; a checkpoint also holds its discriminator and averages."""


def load_ldm(tokenizer: nn.Module, path: Path) -> None:
    """Load a state dict in LDM's naming, from safetensors or a file that torch saved.

    Tensors that are no part of the autoencoder are left, and so is a scale that is measured. ArtifactError names those
    that do not fit.
    """
    own = {name: tensor for name, tensor in tokenizer.state_dict().items() if name.startswith(PARTS)}
    given = {name: tensor for name, tensor in read_tensors(path).items() if name.startswith(PARTS)}
    require_fit(path, given, own, "tokenizer")
    tokenizer.load_state_dict(given, strict=False)
