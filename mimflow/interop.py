"""Reading checkpoints of other code bases."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.tokenizers.pixel.model import PixelTokenizer
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

ML_TARFLOW_HEAD_WIDTH = 64
"""Width of an attention head in apple/ml-tarflow; its state dicts do not tell."""

ML_TARFLOW_MASK = re.compile(r"blocks\.\d+\.attn_mask")
"""Buffers that hold the causal mask: nothing was learned there."""

ML_TARFLOW_NAMES = (
    (".transformer.layers.", ".attn_blocks."),
    (".attention_norm.", ".attention.norm."),
    (".attention.out.", ".attention.proj."),
    (".mlp_norm.", ".mlp.norm."),
    (".mlp.up.", ".mlp.main.0."),
    (".mlp.down.", ".mlp.main.2."),
)
"""Our part of a name, and the one in apple/ml-tarflow."""

LISTED = 4
"""Names that an error lists of each sort."""


def load_ml_tarflow(
    public: Mapping[str, Tensor], *, image_size: int, patch_size: int, channels: int
) -> tuple[PixelTokenizer, Tarflow]:
    """A tokenizer and a prior from a state dict of apple/ml-tarflow.

    Width, depth and classes are read off the tensors; `image_size` and `patch_size` in pixels and `channels`
    of the images are not in them. Raises ArtifactError that names the tensors that do not fit.
    """
    image = ImageShape(channels, image_size)
    tokenizer_spec = PixelTokenizerSpec(patch_size=patch_size)
    for problem in tokenizer_spec.image_problems(image):
        raise ArtifactError(f"ml-tarflow checkpoint: patch size {problem.message} ({problem.hint})")
    latent = tokenizer_spec.latent_shape(image)
    spec, num_classes = _infer_ml_tarflow(public, latent)
    prior = Tarflow(spec, latent, num_classes)
    prior.load_state_dict(ml_tarflow_state(public, spec, latent, num_classes))
    return PixelTokenizer(tokenizer_spec, image), prior


def ml_tarflow_state(
    public: Mapping[str, Tensor], spec: TarflowSpec, latent: LatentShape, num_classes: int
) -> dict[str, Tensor]:
    """A state dict of apple/ml-tarflow as the one of `Tarflow(spec, latent, num_classes)`.

    Raises ArtifactError that names missing, unexpected and mis-shaped tensors.
    """
    with torch.device("meta"):
        ours = Tarflow(spec, latent, num_classes).state_dict()
    expected = {_ml_tarflow_name(name): (name, _ml_tarflow_shape(name, tensor)) for name, tensor in ours.items()}
    found = {name: tensor for name, tensor in public.items() if not ML_TARFLOW_MASK.fullmatch(name)}
    if not spec.volume_preserving and "var" in found:
        # The released code keeps the variance in both modes, and trains it in the volume-preserving one only.
        variance = found.pop("var")
        if not (variance == 1).all():
            raise ArtifactError("ml-tarflow checkpoint: var is not all ones, yet proj_out predicts a scale")
    misshaped = [
        f"{name} is {tuple(found[name].shape)} where {shape} fits"
        for name, (_, shape) in expected.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    faults = [
        *_listing("missing", [name for name in expected if name not in found]),
        *_listing("unexpected", [name for name in found if name not in expected]),
        *_listing("mis-shaped", misshaped),
    ]
    if faults:
        raise ArtifactError(f"ml-tarflow checkpoint does not fit: {'; '.join(faults)}")
    return {name: found[theirs].reshape(ours[name].shape) for theirs, (name, _) in expected.items()}


def _infer_ml_tarflow(public: Mapping[str, Tensor], latent: LatentShape) -> tuple[TarflowSpec, int]:
    """The spec and the number of classes of a state dict."""
    needed = [f"blocks.0.{name}.weight" for name in ("proj_in", "proj_out", "attn_blocks.0.mlp.main.0")]
    missing = [name for name in needed if name not in public]
    if missing:
        raise ArtifactError(f"not an ml-tarflow checkpoint: {'; '.join(_listing('missing', missing))}")
    proj_in, proj_out, mlp = (public[name] for name in needed)
    layers: dict[int, int] = {}
    for name in public:
        place = re.match(r"blocks\.(\d+)\.attn_blocks\.(\d+)\.", name)
        if place:
            block, layer = int(place[1]), int(place[2])
            layers[block] = max(layers.get(block, 0), layer + 1)
    classes = public.get("blocks.0.class_embed")
    width = proj_in.shape[0]
    spec = TarflowSpec(
        width=width,
        # A block without a layer is counted as having one, for the message to name what is missing of it.
        blocks=[layers.get(block, 1) for block in range(max(layers) + 1)],
        head_width=ML_TARFLOW_HEAD_WIDTH,
        expansion=mlp.shape[0] // width,
        class_conditional=classes is not None,
        volume_preserving=proj_out.shape[0] == latent.channels,
    )
    for problem in spec.problems():
        raise ArtifactError(f"not an ml-tarflow checkpoint: {problem.message}")
    return spec, 0 if classes is None else len(classes)


def _ml_tarflow_name(name: str) -> str:
    """Our name of a tensor → the one in apple/ml-tarflow."""
    if name == "variance":
        return "var"
    for ours, theirs in ML_TARFLOW_NAMES:
        name = name.replace(ours, theirs)
    return name


def _ml_tarflow_shape(name: str, ours: Tensor) -> tuple[int, ...]:
    """The shape of a tensor in apple/ml-tarflow: its class embeddings are (classes, 1, width)."""
    if name.endswith("class_embed"):
        classes, width = ours.shape
        return (classes, 1, width)
    return tuple(ours.shape)


def _listing(title: str, items: list[str]) -> list[str]:
    """`title: a, b, c, d and 7 more`, or nothing."""
    if not items:
        return []
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return [f"{title} {', '.join(items[:LISTED])}{more}"]
