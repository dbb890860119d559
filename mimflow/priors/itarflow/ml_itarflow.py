"""Checkpoints of apple/ml-itarflow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.priors.itarflow.model import Itarflow
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.spec.shapes import LatentShape
from mimflow.weights.apple import NAMES, matched

LAYOUT = "ml-itarflow"
LEVEL_NAMES = ((".level_embed.up.", ".time_embed.mlp.0."), (".level_embed.down.", ".time_embed.mlp.2."))


def ml_itarflow_state(
    public: Mapping[str, Tensor], spec: ItarflowSpec, latent: LatentShape, num_classes: int
) -> dict[str, Tensor]:
    """A state dict of apple/ml-itarflow as the one of `Itarflow(spec, latent, num_classes)`.

    Raises ArtifactError that names missing, unexpected and mis-shaped tensors, and for a prior whose public names or
    order of features are not known.
    """
    if spec.shared_layers or set(spec.patches) != {1}:
        raise ArtifactError(f"{LAYOUT} checkpoint: only one patch size and no shared layers can be read")
    with torch.device("meta"):
        ours = Itarflow(spec, latent, num_classes).state_dict()
    own = (".transformer.layers.", f".{_layers(public)}.")
    return matched(LAYOUT, public, ours, (own, *NAMES, *LEVEL_NAMES))


def _layers(public: Mapping[str, Tensor]) -> str:
    """What a block calls its layers: ml-tarflow's name, or the one that came with shared backbones."""
    return "head_blocks" if any(".head_blocks." in name for name in public) else "attn_blocks"
