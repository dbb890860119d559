"""Checkpoints of KL-VAEs that others trained: LDM's and MAR's layout, which is ours, and that of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.kl_vae.ldm import PARTS
from mimflow.tokenizers.kl_vae.model import KlVae
from mimflow.tokenizers.kl_vae.spec import KlVaeSpec
from mimflow.weights.layouts import require_shapes

NAMES = (
    (r"\bdown\.(\d+)\.", r"down_blocks.\1."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.attn\.(\d+)\.", r".attentions.\1."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\bmid\.block_1\.", "mid_block.resnets.0."),
    (r"\bmid\.block_2\.", "mid_block.resnets.1."),
    (r"\bmid\.attn_1\.", "mid_block.attentions.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)
"""Our part of a name, and that of diffusers."""
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
"""Within an attention block: our names, and those of diffusers."""
FORMER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""What diffusers called them before: files that were published then, as sd-vae-ft-ema, still do."""


def ldm_state(public: Mapping[str, Tensor], spec: KlVaeSpec, image: ImageShape) -> dict[str, Tensor]:
    """A state dict of LDM or of MAR as the one of `KlVae(spec, image)`.

    What is no part of the autoencoder, a discriminator say, is left. Raises ArtifactError that names missing,
    unexpected and mis-shaped tensors.
    """
    own = _own("ldm", spec, image)
    found = {name: tensor for name, tensor in public.items() if name.startswith(PARTS)}
    require_shapes("ldm", found, {name: tuple(tensor.shape) for name, tensor in own.items()})
    return found


def diffusers_state(public: Mapping[str, Tensor], spec: KlVaeSpec, image: ImageShape) -> dict[str, Tensor]:
    """A state dict of diffusers' AutoencoderKL as the one of `KlVae(spec, image)`.

    Its decoder's levels are numbered from the smallest maps, ours as the encoder's; its attention is of linear maps,
    ours of convolutions of one place. Raises ArtifactError as `ldm_state` does.
    """
    own = _own("diffusers", spec, image)
    found = {_current(name): tensor for name, tensor in public.items()}
    theirs = {name: _theirs(name, len(spec.multipliers)) for name in own}
    # A 1 × 1 convolution is written either way.
    found = {name: tensor.flatten(1) if _projects(name) else tensor for name, tensor in found.items()}
    shapes = {
        theirs[name]: tuple(tensor.shape[:2] if _projects(theirs[name]) else tensor.shape)
        for name, tensor in own.items()
    }
    require_shapes("diffusers", found, shapes)
    return {name: found[theirs[name]].reshape(tensor.shape) for name, tensor in own.items()}


def _own(layout: str, spec: KlVaeSpec, image: ImageShape) -> dict[str, Tensor]:
    """Names and shapes of the tokenizer's tensors; ArtifactError where some are not in any such checkpoint."""
    if spec.measures_scale:
        raise ArtifactError(
            f"{layout} checkpoint: it has no scale of latents, which the tokenizer measures (scale: a number)"
        )
    with torch.device("meta"):
        return KlVae(spec, image).state_dict()


def _theirs(name: str, levels: int) -> str:
    """The name of a tensor of ours in diffusers."""
    name = re.sub(r"\bup\.(\d+)\.", lambda found: f"up_blocks.{levels - 1 - int(found[1])}.", name)
    if place := re.search(r"\.attn(_1)?\..*?(\w+)\.(?:weight|bias)$", name):
        start, end = place.span(2)
        name = name[:start] + ATTENTION[place[2]] + name[end:]
    for ours, theirs in NAMES:
        name = re.sub(ours, theirs, name)
    return name


def _current(name: str) -> str:
    """A tensor's name as diffusers has it today."""
    for current, former in FORMER.items():
        name = re.sub(rf"(\.attentions\.\d+\.){former}\.", rf"\g<1>{current}.", name)
    return name


def _projects(name: str) -> bool:
    return re.search(r"\.attentions\.\d+\.to_\w+(\.0)?\.weight$", name) is not None
