"""torch-fidelity's Inception as an extractor, in a module of its own: to import torch-fidelity takes seconds."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

from mimflow.artifacts.manifest import Artifact
from mimflow.errors import ArtifactError
from mimflow.features.extractors import SPATIAL_CHANNELS, Extractor, extractor_name
from mimflow.features.spec import InceptionExtractorSpec
from mimflow.system.spec import Shapes, System
from mimflow.weights.given import given_file
from mimflow.weights.tensors import read_tensors

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity's release v0.2.0 calls the weights."""


class InceptionFeatures(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's Inception, that sees grey images as RGB ones of three equal channels, with spatial features.

    Those are ADM's: the first 7 channels of what the TensorFlow graph calls `mixed_6/conv`, which here is the first
    branch of `Mixed_6d`, behind its ReLU.
    """

    def __init__(self, name: str, features_list: list[str], **options: Any):
        super().__init__(name, features_list, **options)
        self._kept: Tensor | None = None
        self.Mixed_6d.branch1x1.register_forward_hook(self._keep)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 images (B, 1 or 3, H, W) → features (B, 2048), logits without bias (B, 1008), spatial (B, 2023)."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        found = super().forward(images)
        assert self._kept is not None
        spatial, self._kept = self._kept, None
        return *found, spatial.flatten(1)

    def convert_features_tuple_to_dict(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """By layer; the last is the spatial one, which torch-fidelity's class does not know."""
        *known, spatial = features
        return {**super().convert_features_tuple_to_dict(tuple(known)), "spatial": spatial}

    def _keep(self, module: nn.Module, arguments: Any, output: Tensor) -> None:
        self._kept = output[:, :SPATIAL_CHANNELS]


def inception_extractor(
    spec: InceptionExtractorSpec, shapes: Shapes, weights: Artifact | None, system: System | None
) -> Extractor:
    """torch-fidelity's port of the Inception of 2015, from a file that the user brings.

    Raises ArtifactError if the file is missing, has another digest, or holds something else.
    """
    path = given_file(spec.weights, f"torch-fidelity's Inception weights ({INCEPTION_FILE})")
    name = extractor_name("inception", spec.weights.sha256, shapes.channels, "spatial")
    try:
        # torch-fidelity unpickles without restraint: it is given tensors only, as we write them.
        only_tensors = io.BytesIO()
        torch.save(dict(read_tensors(path)), only_tensors)
        only_tensors.seek(0)
        features = ["2048", "logits_unbiased"]
        if name not in FEATURE_EXTRACTORS_REGISTRY:
            register_feature_extractor(name, InceptionFeatures)
        options = {"feature_extractor_weights_path": only_tensors}
        module = create_feature_extractor(name, features, cuda=False, verbose=False, **options)
    except (ArtifactError, RuntimeError) as error:
        reason = str(error).removeprefix(f"{path}: ").splitlines()[0]
        raise ArtifactError(f"{path}: not torch-fidelity's Inception weights ({INCEPTION_FILE}): {reason}") from error
    facts = {
        "extractor": name,
        "extractor_file": spec.weights.file,
        "extractor_sha256": spec.weights.sha256,
        "extractor_input": "grey repeated to three channels" if shapes.channels == 1 else "RGB",
    }
    return Extractor(
        module, features="2048", logits="logits_unbiased", spatial="spatial", classifies=False, facts=facts
    )
