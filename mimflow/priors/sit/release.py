"""Checkpoints of willisma/SiT.

The released table of positions holds the column's sines, its cosines, the row's sines, its cosines; ours, that of
`grid_sinusoid`, has the same quarters from the last to the first. Ours stays as it is: the width of the transformer is
put in our order instead, wherever a tensor reads or writes it. What the network computes does not change, since its
norms have no parameters; its hidden states are those of the release in our order.

REPA-E's networks have the same names beside what is theirs alone, but their times run from data to noise: read as
SiT's, they give at t the negative of our velocity at 1 − t.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.nn.sinusoid import grid_sinusoid
from mimflow.priors.sit.model import Sit
from mimflow.priors.sit.spec import SitSpec
from mimflow.spec.shapes import LatentShape
from mimflow.weights.layouts import require_shapes

LAYOUT = "sit"
POSITIONS = "pos_embed"
PATCHES = "x_embedder.proj.weight"
CLASSES = "y_embedder.embedding_table.weight"
OUTPUTS = "final_layer.linear"
TABLE_TOLERANCE = 1e-4
"""Between two ways to compute the table of positions."""
PARTS = {
    "proj_in": "x_embedder.proj",
    "time_embed.hidden": "t_embedder.mlp.0",
    "time_embed.out": "t_embedder.mlp.2",
    "final_modulation.linear": "final_layer.adaLN_modulation.1",
    "proj_out": OUTPUTS,
}
"""Our modules, and theirs."""
LAYER_PARTS = {
    "attention.qkv": "attn.qkv",
    "attention.out": "attn.proj",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
    "modulation.linear": "adaLN_modulation.1",
}
READING = ("attention.qkv", "mlp.up", "proj_out")
"""Modules whose inputs are the transformer's hidden states."""
WRITING = ("proj_in", "attention.out", "mlp.down", "modulation.linear", "final_modulation.linear")
"""Modules whose outputs are hidden states, or a number of vectors that act on them."""


def load_sit(public: Mapping[str, Tensor], latent: LatentShape, head_width: int) -> Sit:
    """The released network, of the sizes that its tensors tell; they don't tell the width of its heads.

    Raises ArtifactError as `sit_state` does.
    """
    sizes = {POSITIONS: 3, PATCHES: 4, CLASSES: 2, "blocks.0.mlp.fc1.weight": 2}
    positions, patches, classes, hidden = (_sized(public, name, axes) for name, axes in sizes.items())
    width = positions[-1]
    layers = {name.split(".")[1] for name in public if name.startswith("blocks.")}
    spec = SitSpec(
        width=width,
        layers=len(layers),
        head_width=head_width,
        expansion=hidden[0] // width,
        patch_size=patches[-1],
    )
    num_classes = classes[0] - 1
    state = sit_state(public, spec, latent, num_classes)
    model = Sit(spec, latent, num_classes)
    model.load_state_dict(state)
    return model


def sit_state(public: Mapping[str, Tensor], spec: SitSpec, latent: LatentShape, num_classes: int) -> dict[str, Tensor]:
    """A state dict of willisma/SiT as the one of `Sit(spec, latent, num_classes)`.

    Of the outputs for each place of a patch, `latent.channels` are kept: the second half, which the release has and
    REPA-E has not, is a variance that nothing uses. Raises ArtifactError that names missing, unexpected and mis-shaped
    tensors, and for positions that are not the release's. The number of heads, the path and the scale of times leave
    no trace in a checkpoint: they are taken to be the spec's.
    """
    with torch.device("meta"):
        model = Sit(spec, latent, num_classes)
    ours, names = model.state_dict(), _names(spec.layers)
    learned = spec.position == "learned"
    doubled = f"{OUTPUTS}.bias" in public and len(public[f"{OUTPUTS}.bias"]) != len(ours["proj_out.bias"])
    shapes = {theirs: _shape(name, ours[name], spec, latent, doubled=doubled) for name, theirs in names.items()}
    table = tuple(model.pos_embed.shape)
    require_shapes(LAYOUT, public, shapes | {POSITIONS: (1, *table)})
    order = torch.arange(spec.width)
    if not learned:
        order = order.view(4, -1).flip(0).flatten()
        grid = (model.grid[0] // spec.patch_size, model.grid[1] // spec.patch_size)
        difference = public[POSITIONS][0][:, order].float() - grid_sinusoid(grid, spec.width)
        if not difference.abs().max() < TABLE_TOLERANCE:
            raise ArtifactError(f"{LAYOUT} checkpoint: {POSITIONS} is not the table of sines and cosines of its grid")
    state = {name: _ordered(name, _plain(name, public[theirs], spec, latent), order) for name, theirs in names.items()}
    return state | {"pos_embed": public[POSITIONS][0]} if learned else state


def _sized(public: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor of so many axes."""
    if name not in public:
        raise ArtifactError(f"{LAYOUT} checkpoint does not fit: missing {name}")
    shape = tuple(public[name].shape)
    if len(shape) != axes or 0 in shape:
        raise ArtifactError(f"{LAYOUT} checkpoint does not fit: mis-shaped {name} is {shape}, not of {axes} axes")
    return shape


def _names(layers: int) -> dict[str, str]:
    """Our names of all tensors but the positions, and theirs."""
    modules = PARTS | {
        f"transformer.layers.{layer}.{ours}": f"blocks.{layer}.{theirs}"
        for layer in range(layers)
        for ours, theirs in LAYER_PARTS.items()
    }
    tensors = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in modules.items() for kind in ("weight", "bias")}
    return {"class_embed": CLASSES} | tensors


def _shape(name: str, ours: Tensor, spec: SitSpec, latent: LatentShape, *, doubled: bool) -> tuple[int, ...]:
    """The shape of a tensor of theirs."""
    if name == "proj_in.weight":
        return (spec.width, latent.channels, spec.patch_size, spec.patch_size)
    if name.startswith("proj_out") and doubled:
        return (2 * len(ours), *ours.shape[1:])
    return tuple(ours.shape)


def _plain(name: str, theirs: Tensor, spec: SitSpec, latent: LatentShape) -> Tensor:
    """A tensor of theirs in our shape: the features of a patch are (channel, row, column), channel slowest."""
    if name == "proj_in.weight":
        return theirs.flatten(1)
    if name.startswith("proj_out"):
        places = theirs.unflatten(0, (spec.patch_size**2, -1))  # theirs are (row, column, channel)
        return places[:, : latent.channels].transpose(0, 1).flatten(0, 1)
    return theirs


def _ordered(name: str, tensor: Tensor, order: Tensor) -> Tensor:
    """A tensor with the hidden states that it reads or writes in our order."""
    module, _, kind = name.rpartition(".")
    if module.endswith(READING):
        return tensor[:, order] if kind == "weight" else tensor
    if module.endswith(WRITING):
        return tensor.unflatten(0, (-1, len(order)))[:, order].flatten(0, 1)
    return tensor
