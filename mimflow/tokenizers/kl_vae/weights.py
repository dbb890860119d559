"""Weights that a KL-VAE starts from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mimflow.errors import ArtifactError
from mimflow.tensors import read_tensors

PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
"""What names of the autoencoder's own tensors begin with; a checkpoint also holds its discriminator and averages."""

LISTED = 8
"""Names that an error lists."""


def load_ldm(tokenizer: nn.Module, path: Path) -> None:
    """Load a state dict in LDM's naming, from safetensors or a file that torch saved.

    Tensors that are no part of the autoencoder are left. ArtifactError names those that do not fit.
    """
    own = tokenizer.state_dict()
    given = {name: tensor for name, tensor in read_tensors(path).items() if name.startswith(PARTS)}
    wrong = [f"{name}: missing" for name in own.keys() - given.keys()]
    wrong += [f"{name}: unknown" for name in given.keys() - own.keys()]
    wrong += [
        f"{name}: shape {tuple(given[name].shape)}, wanted {tuple(own[name].shape)}"
        for name in own.keys() & given.keys()
        if given[name].shape != own[name].shape
    ]
    if wrong:
        more = f"; and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise ArtifactError(f"{path}: does not fit the tokenizer: {'; '.join(sorted(wrong)[:LISTED])}{more}")
    tokenizer.load_state_dict(given)
