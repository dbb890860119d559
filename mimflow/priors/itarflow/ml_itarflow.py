"""Checkpoints of apple/ml-itarflow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.priors.itarflow.model import Itarflow
from mimflow.priors.itarflow.spec import ItarflowSpec
from mimflow.priors.tarflow.ml_tarflow import pixel_tokenizer
from mimflow.spec.shapes import LatentShape
from mimflow.tokenizers.pixel.model import PixelTokenizer
from mimflow.weights.apple import HEAD_WIDTH, NAMES, depths, matched
from mimflow.weights.layouts import refuse, require

LAYOUT = "ml-itarflow"
LEVEL_NAMES = ((".level_embed.up.", ".time_embed.mlp.0."), (".level_embed.down.", ".time_embed.mlp.2."))


def load_ml_itarflow(
    public: Mapping[str, Tensor], *, image_size: int, patch_size: int, channels: int
) -> tuple[PixelTokenizer, Itarflow]:
    """A tokenizer and a prior from a state dict of apple/ml-itarflow with one patch size and no shared backbone.

    Widths, depths and classes are read off the tensors; `image_size` and `patch_size` in pixels and `channels` of the
    images are not in them, and neither is the input's scale, taken as 1. Raises ArtifactError that names the tensors
    that do not fit.
    """
    tokenizer, latent = pixel_tokenizer(LAYOUT, image_size, patch_size, channels)
    spec, num_classes = _infer(public)
    prior = Itarflow(spec, latent, num_classes)
    prior.load_state_dict(ml_itarflow_state(public, spec, latent, num_classes))
    return tokenizer, prior


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


def _infer(public: Mapping[str, Tensor]) -> tuple[ItarflowSpec, int]:
    """The spec and the number of classes of a state dict."""
    proj_in, mlp = require(
        LAYOUT, public, [f"blocks.0.{part}.weight" for part in ("proj_in", f"{_layers(public)}.0.mlp.main.0")]
    )
    blocks, classes, width = depths(public), public.get("blocks.0.class_embed"), proj_in.shape[0]
    own = [public.get(f"blocks.{block}.proj_in.weight", proj_in).shape[0] for block in range(len(blocks))]
    spec = ItarflowSpec(
        width=width,
        blocks=blocks,
        block_widths=own if set(own) != {width} else None,
        head_width=HEAD_WIDTH,
        expansion=mlp.shape[0] // width,
        class_conditional=classes is not None,
    )
    refuse(LAYOUT, spec.problems())
    return spec, 0 if classes is None else len(classes)
