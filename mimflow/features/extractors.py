"""Feature extractors: networks whose layers metrics compare, and a classifier of this project as one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mimflow.artifacts.checkpoint import TrainFacts, weights_file
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Artifact, canonical
from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.system.modules import SystemModules, load_weights
from mimflow.system.spec import Shapes, System

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

FEATURES_VERSION = 1
"""Raised when an extractor gives other features for the same images."""
SPATIAL_CHANNELS = 7
"""What the ADM evaluator takes of a feature map: 7 of 17 × 17 make 2,023 numbers, about as many as FID's 2,048."""


@dataclass(frozen=True)
class Extractor:
    """A network and which of its layers metrics look at. Built as `build(spec, shapes, weights, system)`.

    `weights` is the artifact of the run that trained it, `system` that run's system; both are None where no
    run of this project did.
    """

    module: FeatureNetwork | FeatureExtractorBase
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


def extractor_name(kind: str, *content: Any) -> str:
    """An extractor's name, of all that its features depend on; it changes with `FEATURES_VERSION`, too."""
    digest = hashlib.sha256(canonical([FEATURES_VERSION, *content]).encode()).hexdigest()
    return f"{kind}-{digest[:16]}"


class FeatureNetwork(nn.Module):
    """A network that gives some layers of images, in order, with torch-fidelity's names for what is asked of it.

    Of torch-fidelity alone Inception is needed: it imports much that no other network needs.
    """

    def __init__(self, name: str, layers: tuple[str, ...]):
        super().__init__()
        self.name = name
        self.layers = layers

    def get_name(self) -> str:
        """Its name, which hashes all that its features depend on."""
        return self.name

    def convert_features_tuple_to_dict(self, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """What it gives, by layer."""
        return dict(zip(self.layers, features, strict=True))


class ClassifierFeatures(FeatureNetwork):
    """A classifier of this project."""

    def __init__(self, name: str, classifier: nn.Module):
        super().__init__(name, ("features", "logits"))
        self.classifier = classifier
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 images (B, C, H, W), C as it was trained on → features (B, F), logits (B, K)."""
        features, logits = self.classifier(images.float() / 127.5 - 1)
        return features, logits


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
    name = extractor_name(
        "classifier", only_classifier.identity(), shapes.identity(), weights.manifest.files[file].sha256
    )
    facts = {
        "extractor": name,
        "extractor_run": weights.manifest.name,
        "extractor_key": weights.manifest.key,
        "extractor_accuracy": read_facts(weights, TrainFacts).val.get("accuracy"),
    }
    module = ClassifierFeatures(name, modules.module("classifier"))
    return Extractor(module, features="features", logits="logits", spatial=None, classifies=True, facts=facts)
