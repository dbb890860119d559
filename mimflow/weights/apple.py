"""What the state dicts of apple/ml-tarflow, apple/ml-itarflow and apple/ml-starflow have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.weights.layouts import require_shapes

HEAD_WIDTH = 64
"""Width of an attention head; the state dicts do not tell."""

NAMES = (
    (".transformer.layers.", ".attn_blocks."),
    (".attention_norm.", ".attention.norm."),
    (".attention.out.", ".attention.proj."),
    (".mlp_norm.", ".mlp.norm."),
    (".mlp.up.", ".mlp.main.0."),
    (".mlp.down.", ".mlp.main.2."),
)
"""Our part of a name, and theirs."""

LAYER = re.compile(r"blocks\.(\d+)\.(?:attn|head)_blocks\.(\d+)\.")
BUFFER = re.compile(r"(blocks\.\d+\.)?(attn_mask|feat_rope(_gen)?\.freqs_(cos|sin))")
"""Buffers that hold the causal mask or rotary positions: nothing was learned there."""


def depths(public: Mapping[str, Tensor]) -> list[int]:
    """The layers of each block; one without any counts as having one, for a message to name what is missing of it."""
    found: dict[int, int] = {}
    for name in public:
        place = LAYER.match(name)
        if place:
            block, layer = int(place[1]), int(place[2])
            found[block] = max(found.get(block, 0), layer + 1)
    return [found.get(block, 1) for block in range(max(found, default=-1) + 1)]


def matched(
    layout: str, public: Mapping[str, Tensor], ours: Mapping[str, Tensor], names: Iterable[tuple[str, str]] = NAMES
) -> dict[str, Tensor]:
    """A public state under the names and in the shapes of `ours`.

    ArtifactError names missing, unexpected and mis-shaped tensors.
    """
    expected = {_theirs(name, names): (name, _shape(name, tensor)) for name, tensor in ours.items()}
    found = learned(layout, public, {theirs: shape for theirs, (_, shape) in expected.items()})
    return {name: found[theirs].reshape(ours[name].shape) for theirs, (name, _) in expected.items()}


def learned(layout: str, public: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a public state without its buffers: exactly those that `shapes` names, in these shapes.

    ArtifactError names missing, unexpected and mis-shaped tensors.
    """
    found = {name: tensor for name, tensor in public.items() if not BUFFER.fullmatch(name)}
    # A variance is kept in every mode, and trained in the volume-preserving one only.
    if "var" in found.keys() - shapes.keys() and not (found.pop("var") == 1).all():
        raise ArtifactError(f"{layout} checkpoint: var is not all ones, yet proj_out predicts a scale")
    require_shapes(layout, found, shapes)
    return found


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
