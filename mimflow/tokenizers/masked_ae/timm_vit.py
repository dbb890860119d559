"""Weights of a vision transformer that the encoder starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn

from mimflow.weights.tensors import read_tensors, require_fit

SCALES = re.compile(r"^(blocks\.\d+\.)ls([12])\.gamma$")
"""timm's name of a layer's scale."""

UNUSED = re.compile(r"^(mask_token|head\..*|fc_norm\..*)$")
"""What is no part of the encoder: DINOv2's own mask token, and classifiers."""


def load_vit(encoder: nn.Module, path: Path) -> None:
    """Load a ViT with a class token into an encoder with `patch_embed`, `cls_token`, `pos_embed` and `vit`.

    The file is safetensors or a state dict that torch saved. Patch embedding and positions are resampled to the
    encoder's patch size and grid, as timm does. The file's other tensors must be the transformer's, one to one; rotary
    frequencies are not among them. ArtifactError names those that do not fit.
    """
    own = wanted_tensors(encoder)
    given = given_tensors(read_tensors(path), own)
    require_fit(path, given, own, "encoder")
    encoder.load_state_dict(given, strict=False)


def given_tensors(public: Mapping[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state in timm's naming under the encoder's names, patches and positions in the sizes that `own` has."""
    return _resampled({_own_name(name): t for name, t in public.items() if not UNUSED.match(name)}, own)


def wanted_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """What the file has to hold."""
    parts = ("patch_embed.", "cls_token", "pos_embed", "vit.blocks.", "vit.norm.")
    return {name: tensor for name, tensor in encoder.state_dict().items() if name.startswith(parts)}


def _own_name(name: str) -> str:
    """timm's name as the encoder's."""
    name = SCALES.sub(r"\1gamma_\2", name)
    return f"vit.{name}" if name.startswith(("blocks.", "norm.")) else name


def _resampled(given: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with patches and positions of the encoder's sizes."""
    given = dict(given)
    kernel, positions = given.get("patch_embed.proj.weight"), given.get("pos_embed")
    if kernel is not None and kernel.dim() == 4:
        given["patch_embed.proj.weight"] = resample_patch_embed(kernel, list(own["patch_embed.proj.weight"].shape[2:]))
    if positions is not None and positions.dim() == 3:
        side = round((own["pos_embed"].shape[1] - 1) ** 0.5)
        given["pos_embed"] = resample_abs_pos_embed(positions, [side, side], num_prefix_tokens=1)
    return given
