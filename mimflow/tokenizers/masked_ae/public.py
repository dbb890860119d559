"""Vision transformers that others trained, in timm's layout, as a masked autoencoder's encoder: DINOv2's, MAETok's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.seeds import derive
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.masked_ae.model import MaskedAutoencoder
from mimflow.tokenizers.masked_ae.spec import MaskedAeSpec
from mimflow.tokenizers.masked_ae.timm_vit import given_tensors, wanted_tensors
from mimflow.weights.layouts import require_shapes

LAYOUT = "timm-vit"
PATCHES = "patch_embed.proj.weight"
"""A tensor that every such transformer has, by its own name or below that of a module that holds it."""


def timm_vit_state(public: Mapping[str, Tensor], spec: MaskedAeSpec, image: ImageShape) -> dict[str, Tensor]:
    """The state dict of a `MaskedAutoencoder(spec, image)` whose encoder's transformer is the public one.

    It may stand among other modules, as a whole tokenizer's do: of several the one below `encoder.` is taken. Patches
    and positions are resampled to the spec's sizes. The rest (latent queries, projection, decoder) is fresh, and the
    same every time: to be trained. Raises ArtifactError that names missing, unexpected and mis-shaped tensors.
    """
    below = _place(public)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(LAYOUT))
        model = MaskedAutoencoder(spec, image)
    own = wanted_tensors(model.encoder)
    found = {name.removeprefix(below): tensor for name, tensor in public.items() if name.startswith(below)}
    given = given_tensors(found, own)
    require_shapes(LAYOUT, given, {name: tuple(tensor.shape) for name, tensor in own.items()})
    return model.state_dict() | {f"encoder.{name}": tensor for name, tensor in given.items()}


def _place(public: Mapping[str, Tensor]) -> str:
    """What the names of the transformer's tensors begin with; nothing where it stands alone."""
    found = [name.removesuffix(PATCHES) for name in public if name.endswith(PATCHES)]
    chosen = found if len(found) == 1 else [name for name in found if name.startswith("encoder.")]
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise ArtifactError(f"not a {LAYOUT} checkpoint: no {PATCHES} in it, by itself or below another name")
    raise ArtifactError(
        f"{LAYOUT} checkpoint: {len(found)} transformers, below {', '.join(found)}, and which is meant?"
    )
