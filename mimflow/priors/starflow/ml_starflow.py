"""Checkpoints of apple/ml-starflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.priors.starflow.model import Starflow
from mimflow.priors.starflow.spec import StarflowSpec
from mimflow.spec.shapes import LatentShape
from mimflow.weights.apple import HEAD_WIDTH, NAMES, depths, learned
from mimflow.weights.layouts import refuse, require

LAYOUT = "ml-starflow"
CLASSES = ("proj_txt.weight", "proj_txt.bias")
"""A class is read as a one-hot vector: its token is a column of the weight, and the bias."""
RMS_NORMS = ("attention_norm.weight", "mlp_norm.weight", "final_norm.weight")
"""Scales of RMS norms, which the public code keeps as what is added to 1."""


def load_ml_starflow(
    public: Mapping[str, Tensor],
    *,
    grid: tuple[int, int],
    order: Literal["forward", "reverse"] = "reverse",
    scale: Literal["exp", "softplus"] = "softplus",
    soft_clip: float | None = 4.0,
    head_width: int = HEAD_WIDTH,
    rotary_side: float | None = None,
) -> Starflow:
    """A prior from a state dict of apple/ml-starflow that reads classes, or nothing, besides the latents.

    Width, depths, norms, channels, classes, the start token and which blocks see the class are read off the tensors.
    What is not in them is the (rows, columns) of the tokens, and options that are fields of `StarflowSpec`, given here
    as the released configurations have them: `order` is theirs of `seq_order`, `L2R` as `reverse` and `R2L` as
    `forward`; their `use_softplus` 0 is the `scale` `exp`, their `soft_clip` 0 None. Raises ArtifactError that names
    the tensors that do not fit.
    """
    spec, channels, num_classes = _infer(public, order, scale, soft_clip, head_width, rotary_side)
    latent = LatentShape(grid[0] * grid[1], channels, grid)
    prior = Starflow(spec, latent, num_classes)
    prior.load_state_dict(ml_starflow_state(public, spec, latent, num_classes))
    return prior


def ml_starflow_state(
    public: Mapping[str, Tensor], spec: StarflowSpec, latent: LatentShape, num_classes: int
) -> dict[str, Tensor]:
    """A state dict of apple/ml-starflow as the one of `Starflow(spec, latent, num_classes)`.

    Raises ArtifactError that names missing, unexpected and mis-shaped tensors, and for a prior that reads positions or
    classes in another way than the public code.
    """
    if spec.position != "rotary_2d" or spec.conditioning not in ("none", "prefix"):
        raise ArtifactError(
            f"{LAYOUT} checkpoint: positions are rotary_2d and conditioning is prefix or none there, "
            f"and here {spec.position} and {spec.conditioning}"
        )
    with torch.device("meta"):
        ours = Starflow(spec, latent, num_classes).state_dict()
    # Blocks without layers have no tensors; in the public list of blocks they keep their place.
    places = [place for place, layers in enumerate(spec.blocks) if layers]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in ours.items():
        shapes |= _shapes(_theirs(name, places), tensor)
    found = learned(LAYOUT, public, shapes)
    return {name: _ours(_theirs(name, places), name, found, rms=spec.norm == "rms") for name in ours}


def _theirs(name: str, places: list[int]) -> str:
    """The public name of one of our tensors; that of a class table ends in `class_embed` all the same."""
    blocks, number, rest = name.split(".", 2)
    name = f"{blocks}.{places[int(number)]}.{'sos_embed' if rest == 'start' else rest}"
    for ours, theirs in NAMES:
        name = name.replace(ours, theirs)
    return name


def _shapes(theirs: str, ours: Tensor) -> dict[str, tuple[int, ...]]:
    """The public tensors that one of ours comes from, and their shapes."""
    if theirs.endswith(".class_embed"):
        rows, width = ours.shape
        weight, bias = _class_names(theirs)
        return {weight: (width, rows), bias: (width,)}
    return {theirs: (1, 1, len(ours)) if theirs.endswith(".sos_embed") else tuple(ours.shape)}


def _ours(theirs: str, name: str, found: Mapping[str, Tensor], *, rms: bool) -> Tensor:
    """Our tensor of this name; sums are taken in single precision, whatever the checkpoint is in."""
    if name.endswith(".class_embed"):
        weight, bias = (found[part].float() for part in _class_names(theirs))
        return weight.T + bias
    if name.endswith(".start"):
        return found[theirs].flatten()
    if name.endswith(RMS_NORMS if rms else RMS_NORMS[-1:]):
        return 1 + found[theirs].float()
    return found[theirs]


def _class_names(theirs: str) -> list[str]:
    return [theirs.removesuffix("class_embed") + part for part in CLASSES]


def _infer(
    public: Mapping[str, Tensor],
    order: Literal["forward", "reverse"],
    scale: Literal["exp", "softplus"],
    soft_clip: float | None,
    head_width: int,
    rotary_side: float | None,
) -> tuple[StarflowSpec, int, int]:
    """The spec, the channels of the latents and the number of classes of a state dict."""
    layers = [
        count if any(name.startswith(f"blocks.{place}.") for name in public) else 0
        for place, count in enumerate(depths(public))
    ]
    deep = f"blocks.{max(len(layers) - 1, 0)}"
    proj_in, mlp = require(LAYOUT, public, [f"{deep}.proj_in.weight", f"{deep}.attn_blocks.0.mlp.main.0.weight"])
    seeing = [place for place, count in enumerate(layers) if count and f"blocks.{place}.{CLASSES[0]}" in public]
    width, channels = proj_in.shape
    spec = StarflowSpec(
        width=width,
        blocks=layers,
        head_width=head_width,
        expansion=mlp.shape[0] // width,
        order=order,
        position="rotary_2d",
        rotary_side=rotary_side,
        start="sos" if f"{deep}.sos_embed" in public else "shift",
        scale=scale,
        soft_clip=soft_clip,
        norm="layer" if f"{deep}.attn_blocks.0.attention.norm.bias" in public else "rms",
        final_norm=f"{deep}.final_norm.weight" in public,
        conditioning="prefix" if seeing else "none",
        prefix_blocks="all" if len(seeing) > 1 else "deep",
    )
    refuse(LAYOUT, spec.problems())
    # The last column is the null class.
    return spec, channels, public[f"blocks.{seeing[-1]}.{CLASSES[0]}"].shape[1] - 1 if seeing else 0
