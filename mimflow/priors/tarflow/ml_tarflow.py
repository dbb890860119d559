"""Checkpoints of apple/ml-tarflow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.tokenizers.pixel.model import PixelTokenizer
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.weights.apple import HEAD_WIDTH, depths, matched
from mimflow.weights.layouts import refuse, require

LAYOUT = "ml-tarflow"


def pixel_tokenizer(layout: str, image_size: int, patch_size: int, channels: int) -> tuple[PixelTokenizer, LatentShape]:
    """The tokenizer of such images and its latents; ArtifactError if the patch does not fit."""
    image, spec = ImageShape(channels, image_size), PixelTokenizerSpec(patch_size=patch_size)
    for problem in spec.image_problems(image):
        raise ArtifactError(f"{layout} checkpoint: patch size {problem.message} ({problem.hint})")
    return PixelTokenizer(spec, image), spec.latent_shape(image)


def load_ml_tarflow(
    public: Mapping[str, Tensor], *, image_size: int, patch_size: int, channels: int
) -> tuple[PixelTokenizer, Tarflow]:
    """A tokenizer and a prior from a state dict of apple/ml-tarflow.

    Width, depth and classes are read off the tensors; `image_size` and `patch_size` in pixels and `channels`
    of the images are not in them. Raises ArtifactError that names the tensors that do not fit.
    """
    tokenizer, latent = pixel_tokenizer(LAYOUT, image_size, patch_size, channels)
    spec, num_classes = _infer(public, latent)
    prior = Tarflow(spec, latent, num_classes)
    prior.load_state_dict(ml_tarflow_state(public, spec, latent, num_classes))
    return tokenizer, prior


def ml_tarflow_state(
    public: Mapping[str, Tensor], spec: TarflowSpec, latent: LatentShape, num_classes: int
) -> dict[str, Tensor]:
    """A state dict of apple/ml-tarflow as the one of `Tarflow(spec, latent, num_classes)`.

    Raises ArtifactError that names missing, unexpected and mis-shaped tensors.
    """
    with torch.device("meta"):
        ours = Tarflow(spec, latent, num_classes).state_dict()
    return matched(LAYOUT, public, ours)


def _infer(public: Mapping[str, Tensor], latent: LatentShape) -> tuple[TarflowSpec, int]:
    """The spec and the number of classes of a state dict."""
    parts = ("proj_in", "proj_out", "attn_blocks.0.mlp.main.0")
    proj_in, proj_out, mlp = require(LAYOUT, public, [f"blocks.0.{name}.weight" for name in parts])
    classes = public.get("blocks.0.class_embed")
    width = proj_in.shape[0]
    spec = TarflowSpec(
        width=width,
        blocks=depths(public),
        head_width=HEAD_WIDTH,
        expansion=mlp.shape[0] // width,
        class_conditional=classes is not None,
        volume_preserving=proj_out.shape[0] == latent.channels,
    )
    refuse(LAYOUT, spec.problems())
    return spec, 0 if classes is None else len(classes)
