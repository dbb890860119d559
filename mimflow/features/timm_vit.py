"""timm's vision transformers with weights from a file: DINOv2 (Oquab et al. 2024), SigLIP (Zhai et al. 2023)."""

from __future__ import annotations

from typing import cast

import timm
from timm.models import load_state_dict
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from mimflow.errors import ArtifactError, SpecError
from mimflow.features.base import IMAGENET_MEAN, IMAGENET_STD, Preparation
from mimflow.features.networks import FrozenNetwork
from mimflow.features.spec import TimmVitSpec
from mimflow.weights.given import given_file


class TimmVit(FrozenNetwork):
    """The patch tokens behind the last norm; class and register tokens are left out."""

    def __init__(self, spec: TimmVitSpec):
        super().__init__()
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if spec.normalisation == "imagenet" else ([0.5] * 3, [0.5] * 3)
        self.prepare = Preparation(spec.input_size, mean, std)
        self.network = _create(spec)
        self._load(spec)
        self.freeze()

    def tokens(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.network.forward_features(self.prepare(images))
        return tokens[:, self.network.num_prefix_tokens :]

    def _load(self, spec: TimmVitSpec) -> None:
        """Load the file's tensors; tensors of shapes alone take none."""
        if any(parameter.is_meta for parameter in self.parameters()):
            return
        path = given_file(spec.weights, f"timm's weights of {spec.architecture}")
        try:
            given = checkpoint_filter_fn(load_state_dict(str(path), weights_only=True), self.network)
            missing = self.network.load_state_dict(given, strict=False).missing_keys
        except (RuntimeError, KeyError, ValueError) as error:
            # timm's own words advise loading it without restraint.
            reason = "it holds more than tensors" if "weights_only" in str(error) else str(error).splitlines()[0]
            raise ArtifactError(f"{path}: not weights of {spec.architecture}: {reason}") from error
        if missing:  # what the file has beyond them is the classifier, which is not built
            raise ArtifactError(f"{path}: not weights of {spec.architecture}: no {', '.join(missing[:8])}")


def _create(spec: TimmVitSpec) -> VisionTransformer:
    if spec.architecture.partition(".")[0] not in timm.list_models(module="vision_transformer"):
        raise SpecError(
            f"network.architecture: timm {timm.__version__} has no vision transformer '{spec.architecture}' "
            "(`timm.list_models('vit*')` names them)"
        )
    built = timm.create_model(spec.architecture, img_size=spec.input_size, patch_size=spec.patch_size, num_classes=0)
    network = cast(VisionTransformer, built)
    if network.embed_dim != spec.width:
        raise SpecError(f"network.width: {spec.width}, '{spec.architecture}' has {network.embed_dim}")
    return network
