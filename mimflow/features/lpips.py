"""LPIPS (Zhang et al. 2018): how far apart two images are to people, in the features of a network for ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import AlexNet
from torchvision.models.vgg import cfgs, make_layers

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.features.base import IMAGENET_MEAN, IMAGENET_STD, Frozen, Preparation
from mimflow.spec.weights import FileWeights
from mimflow.weights.given import given_file
from mimflow.weights.tensors import read_tensors

PACKAGE = "lpips==0.1.4"
"""Brings the linear weights."""
Backbone = Literal["vgg", "alex"]
LAYERS = {
    "vgg": ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30)),
    "alex": ((0, 2), (2, 5), (5, 8), (8, 10), (10, 12)),
}
"""VGG16's layers up to relu1_2, 2_2, 3_3, 4_3 and 5_3; AlexNet's up to its five ReLUs."""
CHANNELS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}
LEAST_SIDE = {"vgg": 16, "alex": 31}
"""Pixels that are left of smaller images nowhere in the last layer."""
BACKBONES = {
    "vgg": "torchvision's VGG16 (vgg16-397923af.pth)",
    "alex": "torchvision's AlexNet (alexnet-owt-7be5be79.pth)",
}
LINEAR_SHA256 = {
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
}
"""Of the package's files."""


def unit_distance(features: Tensor, others: Tensor, dim: int) -> Tensor:
    """Squared difference of features scaled to unit length along `dim`, not reduced: LPIPS without its weights."""
    features, others = (f / (f.norm(dim=dim, keepdim=True) + 1e-10) for f in (features.float(), others.float()))
    return (features - others).square()


class Lpips(Frozen):
    """LPIPS 0.1: learned weights of unit-length features, a mean over places, a sum over five layers.

    `linear` None: the weights that the package lpips brings. ArtifactError if a file is missing or another.
    """

    def __init__(self, backbone: Backbone, weights: FileWeights, linear: FileWeights | None):
        super().__init__()
        # In its own range [−1, 1]: mean (−0.030, −0.088, −0.188), standard deviation (0.458, 0.448, 0.450).
        self.prepare = Preparation(None, IMAGENET_MEAN, IMAGENET_STD)
        features = _layers(backbone)
        network = BACKBONES[backbone]
        load_given(features, lambda: given_file(weights, network), network, ("features.", ""))
        self.slices = nn.ModuleList(features[begin:end] for begin, end in LAYERS[backbone])
        self.linear = nn.ModuleDict(
            {
                f"lin{i}": nn.Sequential(nn.Dropout(), nn.Conv2d(c, 1, 1, bias=False))
                for i, c in enumerate(CHANNELS[backbone])
            }
        )
        what = f"LPIPS' weights ({backbone}.pth, version 0.1)"
        load_given(
            self.linear,
            lambda: _packaged(backbone, what) if linear is None else given_file(linear, what),
            what,
            (".model.", "."),
        )
        self.freeze()

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Images (B, C, H, W) in [−1, 1] → the distance of each to its other (B,), with gradients to `images`."""
        found, wanted = self.prepare(images), self.prepare(others)
        total = found.new_zeros(len(images))
        for part, weights in zip(self.slices, self.linear.values(), strict=True):
            found = part(found)
            with torch.no_grad():  # nothing is kept for a gradient that nobody asks for
                wanted = part(wanted)
            total = total + weights(unit_distance(found, wanted, dim=1)).mean((1, 2, 3))
        return total


def load_given(module: nn.Module, path_of: Callable[[], Path], what: str, rename: tuple[str, str] = ("", "")) -> None:
    """Load a file's tensors, a part of their names replaced; what the module does not have is left.

    Tensors of shapes alone take none. ArtifactError unless the file has all that the module has.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return
    path = path_of()
    given = {name.replace(*rename): tensor for name, tensor in read_tensors(path).items()}
    own = module.state_dict()
    wrong = [name for name, tensor in own.items() if name not in given or given[name].shape != tensor.shape]
    if wrong:
        raise ArtifactError(f"{path}: not {what}: {', '.join(wrong[:8])} missing or of another shape")
    module.load_state_dict({name: given[name] for name in own})


def _layers(backbone: Backbone) -> nn.Sequential:
    """The convolutions of a network, their weights to be loaded."""
    with torch.device("meta"):  # AlexNet's classifier, which nobody needs, has 55 million weights
        layers = make_layers(cfgs["D"]) if backbone == "vgg" else AlexNet().features
    return layers if torch.get_default_device().type == "meta" else layers.to_empty(device="cpu")


def _packaged(backbone: Backbone, what: str) -> Path:
    """The package's file. Its code is not imported."""
    found = find_spec("lpips")
    if found is None or not found.submodule_search_locations:
        raise ArtifactError(f"{what}: the package that has them is missing (pip install {PACKAGE}, or name a file)")
    path = Path(found.submodule_search_locations[0], "weights", "v0.1", f"{backbone}.pth")
    if not path.is_file() or sha256_of(path) != LINEAR_SHA256[backbone]:
        raise ArtifactError(f"{path}: not {what} (pip install --force-reinstall {PACKAGE})")
    return path
