"""The specs of metrics, feature extractors and protocols' parts."""

from __future__ import annotations

from typing import Literal

from mimflow.spec.base import Count, Spec
from mimflow.spec.weights import FileWeights, RunWeights


class ExtractorSpec(Spec):
    """Base of the extractor axis: the network whose features metrics compare."""

    kind: str


class ClassifierExtractorSpec(ExtractorSpec):
    """The features and logits of a classifier that a run of this project trained."""

    kind: Literal["classifier"] = "classifier"
    weights: RunWeights


class InceptionExtractorSpec(ExtractorSpec):
    """torch-fidelity's port of the TensorFlow Inception of 2015: the usual FID and IS. The user brings the weights."""

    kind: Literal["inception"] = "inception"
    weights: FileWeights


class MetricSpec(Spec):
    """Base of the metric axis."""

    kind: str

    @property
    def reports(self) -> tuple[str, ...]:
        """The names of the numbers that it reports."""
        return (self.kind,)


class FidSpec(MetricSpec):
    """Fréchet distance between Gaussians fitted to features (Heusel et al. 2017)."""

    kind: Literal["fid"] = "fid"


class IsSpec(MetricSpec):
    """Inception score of shuffled samples (Salimans et al. 2016)."""

    kind: Literal["is"] = "is"
    splits: Count = 10


class KidSpec(MetricSpec):
    """Kernel distance between features, cubic kernel (Bińkowski et al. 2018)."""

    kind: Literal["kid"] = "kid"
    subset_size: Count = 1000
    subsets: Count = 100


class PrecisionRecallSpec(MetricSpec):
    """Improved precision and recall (Kynkäänniemi et al. 2019): two numbers, `precision` and `recall`."""

    kind: Literal["precision_recall"] = "precision_recall"
    neighbourhood: Count = 3

    @property
    def reports(self) -> tuple[str, ...]:
        return ("precision", "recall")


class ClassAccuracySpec(MetricSpec):
    """The share of samples that the extractor's classifier puts in the class they were sampled for."""

    kind: Literal["class_accuracy"] = "class_accuracy"
