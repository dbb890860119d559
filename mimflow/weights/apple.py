"""What the state dicts of apple/ml-tarflow and apple/ml-itarflow have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.weights.layouts import require_shapes

NAMES = (
    (".transformer.layers.", ".attn_blocks."),
    (".attention_norm.", ".attention.norm."),
    (".attention.out.", ".attention.proj."),
    (".mlp_norm.", ".mlp.norm."),
    (".mlp.up.", ".mlp.main.0."),
    (".mlp.down.", ".mlp.main.2."),
)
"""Our part of a name, and theirs."""

MASK = re.compile(r"blocks\.\d+\.attn_mask")
"""Buffers that hold the causal mask: nothing was learned there."""


def matched(
    layout: str, public: Mapping[str, Tensor], ours: Mapping[str, Tensor], names: Iterable[tuple[str, str]] = NAMES
) -> dict[str, Tensor]:
    """A public state under the names and in the shapes of `ours`.

    ArtifactError names missing, unexpected and mis-shaped tensors.
    """
    expected = {_theirs(name, names): (name, _shape(name, tensor)) for name, tensor in ours.items()}
    found = {name: tensor for name, tensor in public.items() if not MASK.fullmatch(name)}
    # A variance is kept in every mode, and trained in the volume-preserving one only.
    if "var" in found.keys() - expected.keys() and not (found.pop("var") == 1).all():
        raise ArtifactError(f"{layout} checkpoint: var is not all ones, yet proj_out predicts a scale")
    require_shapes(layout, found, {theirs: shape for theirs, (_, shape) in expected.items()})
    return {name: found[theirs].reshape(ours[name].shape) for theirs, (name, _) in expected.items()}


def _theirs(name: str, names: Iterable[tuple[str, str]]) -> str:
    if name == "variance":
        return "var"
    for ours, theirs in names:
        name = name.replace(ours, theirs)
    return name


def _shape(name: str, ours: Tensor) -> tuple[int, ...]:
    """The shape of a tensor of theirs: class embeddings are (classes, 1, width)."""
    if name.endswith("class_embed"):
        classes, width = ours.shape
        return (classes, 1, width)
    return tuple(ours.shape)
