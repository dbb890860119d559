"""EfficientNet-Lite0 as an extractor, in a module of its own: to import timm takes seconds."""

from __future__ import annotations

from torch import Tensor

from mimflow.artifacts.manifest import Artifact
from mimflow.features.efficientnet_lite0 import SHA256, preparation, pretrained
from mimflow.features.extractors import SPATIAL_CHANNELS, Extractor, FeatureNetwork, extractor_name
from mimflow.features.spec import EfficientnetLite0ExtractorSpec
from mimflow.system.spec import Shapes, System


class EfficientnetLite0Features(FeatureNetwork):
    """EfficientNet-Lite0."""

    def __init__(self, name: str, input_size: int):
        super().__init__(name, ("features", "logits", "spatial"))
        self.prepare = preparation(input_size)
        self.network = pretrained()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 images (B, 1 or 3, H, W) → features (B, 1280), logits (B, 1000), spatial (B, 7 · places).

        The spatial features are the first 7 channels of the map of stride 16, as ADM takes 7 of Inception's 17 × 17.
        """
        final, maps = self.network.forward_intermediates(self.prepare(images.float() / 127.5 - 1), indices=[3])
        features = self.network.forward_head(final, pre_logits=True)
        return features, self.network.classifier(features), maps[0][:, :SPATIAL_CHANNELS].flatten(1)


def efficientnet_lite0_extractor(
    spec: EfficientnetLite0ExtractorSpec, shapes: Shapes, weights: Artifact | None, system: System | None
) -> Extractor:
    """EfficientNet-Lite0 with the weights of its package. ArtifactError if they are missing or others."""
    name = extractor_name("efficientnet-lite0", SHA256, spec.identity())
    module = EfficientnetLite0Features(name, spec.input_size)
    facts = {"extractor": name, "extractor_sha256": SHA256}
    return Extractor(module, "features", "logits", classifies=False, facts=facts, spatial="spatial")
