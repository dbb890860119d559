"""Feature extractors, as modules that torch-fidelity's metrics take their features from."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
from torch_fidelity.utils import create_feature_extractor

from mimflow.artifacts.checkpoint import TrainFacts, weights_file
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact, canonical
from mimflow.errors import ArtifactError
from mimflow.features.efficientnet_lite0 import SHA256, preparation, pretrained
from mimflow.features.spec import ClassifierExtractorSpec, EfficientnetLite0ExtractorSpec, InceptionExtractorSpec
from mimflow.system.modules import SystemModules, load_weights
from mimflow.system.spec import Shapes, System
from mimflow.weights.given import given_file
from mimflow.weights.tensors import read_tensors

FEATURES_VERSION = 1
"""Raised when an extractor gives other features for the same images."""
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity's release v0.2.0 calls the weights."""

SPATIAL_CHANNELS = 7
"""What the ADM evaluator takes of a feature map: 7 of 17 × 17 make 2,023 numbers, about as many as FID's 2,048."""


@dataclass(frozen=True)
class Extractor:
    """A network and which of its layers metrics look at. Built as `build(spec, shapes, weights, system)`.

    `weights` is the artifact of the run that trained it, `system` that run's system; both are None where no
    run of this project did.
    """

    module: FeatureExtractorBase
    """uint8 images (B, C, H, W) → its layers, in order. Its name hashes all that its features depend on."""
    features: str
    """The layer that FID, KID, precision and recall compare: (B, F)."""
    logits: str
    """The layer that the Inception score takes the softmax of: (B, K)."""
    classifies: bool
    """Whether the logits are over the data's own classes."""
    facts: dict[str, Any]
    """What is known of it, for the manifest."""
    spatial: str | None = None
    """The layer that the sFID compares, flattened: (B, S); None where there is none."""

    @property
    def name(self) -> str:
        return self.module.get_name()


def _name(kind: str, *content: Any) -> str:
    """The extractor's name in torch-fidelity's cache; it changes with `FEATURES_VERSION`, too."""
    digest = hashlib.sha256(canonical([FEATURES_VERSION, *content]).encode()).hexdigest()
    return f"{kind}-{digest[:16]}"


def _registered(
    name: str, cls: type[FeatureExtractorBase], features: list[str], **options: Any
) -> FeatureExtractorBase:
    """An extractor made by torch-fidelity from its registry, where its metrics find it by name."""
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, cls)
    return create_feature_extractor(name, features, cuda=False, verbose=False, **options)


class ClassifierFeatures(FeatureExtractorBase):  # type: ignore[misc]
    """A classifier of this project behind torch-fidelity's interface."""

    def __init__(self, name: str, features_list: list[str], classifier: nn.Module, verbose: bool):
        super().__init__(name, features_list)
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 images (B, C, H, W), C as it was trained on → features (B, F), logits (B, K)."""
        features, logits = self.classifier(images.float() / 127.5 - 1)
        return features, logits

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"


def classifier_extractor(
    spec: ClassifierExtractorSpec, shapes: Shapes, weights: Artifact | None, system: System | None
) -> Extractor:
    """The classifier of a run. ArtifactError if its weights do not fit."""
    assert weights is not None and system is not None and system.classifier is not None, "refused by validation"
    file = weights_file(spec.weights.ema)
    path = weights.file(file)
    only_classifier = System(classifier=system.classifier)
    modules = SystemModules(only_classifier, shapes)
    load_weights(modules, path, ["classifier"])
    name = _name("classifier", only_classifier.identity(), shapes.identity(), weights.manifest.files[file].sha256)
    facts = {
        "extractor": name,
        "extractor_run": weights.manifest.name,
        "extractor_key": weights.manifest.key,
        "extractor_accuracy": read_facts(weights, TrainFacts).val.get("accuracy"),
    }
    features = list(ClassifierFeatures.get_provided_features_list())
    module = _registered(name, ClassifierFeatures, features, classifier=modules.module("classifier"))
    return Extractor(module, features="features", logits="logits", spatial=None, classifies=True, facts=facts)


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
    name = _name("inception", spec.weights.sha256, shapes.channels, "spatial")
    try:
        # torch-fidelity unpickles without restraint: it is given tensors only, as we write them.
        only_tensors = io.BytesIO()
        torch.save(dict(read_tensors(path)), only_tensors)
        only_tensors.seek(0)
        features = ["2048", "logits_unbiased"]
        module = _registered(name, InceptionFeatures, features, feature_extractor_weights_path=only_tensors)
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


class EfficientnetLite0Features(FeatureExtractorBase):  # type: ignore[misc]
    """EfficientNet-Lite0 behind torch-fidelity's interface."""

    def __init__(self, name: str, features_list: list[str], input_size: int, verbose: bool):
        super().__init__(name, features_list)
        self.prepare = preparation(input_size)
        self.network = pretrained()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 images (B, 1 or 3, H, W) → features (B, 1280), logits (B, 1000), spatial (B, 7 · places).

        The spatial features are the first 7 channels of the map of stride 16, as ADM takes 7 of Inception's 17 × 17.
        """
        final, maps = self.network.forward_intermediates(self.prepare(images.float() / 127.5 - 1), indices=[3])
        features = self.network.forward_head(final, pre_logits=True)
        return features, self.network.classifier(features), maps[0][:, :SPATIAL_CHANNELS].flatten(1)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits", "spatial"


def efficientnet_lite0_extractor(
    spec: EfficientnetLite0ExtractorSpec, shapes: Shapes, weights: Artifact | None, system: System | None
) -> Extractor:
    """EfficientNet-Lite0 with the weights of its package. ArtifactError if they are missing or others."""
    name = _name("efficientnet-lite0", SHA256, spec.identity())
    layers = list(EfficientnetLite0Features.get_provided_features_list())
    module = _registered(name, EfficientnetLite0Features, layers, input_size=spec.input_size)
    facts = {"extractor": name, "extractor_sha256": SHA256}
    return Extractor(module, "features", "logits", classifies=False, facts=facts, spatial="spatial")
