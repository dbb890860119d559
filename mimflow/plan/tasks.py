"""What each stage depends on: a task is all that a job reads besides its inputs, and all that its key is made of."""

from __future__ import annotations

from typing import Annotated, ClassVar

from mimflow.data.spec import DatasetSpec
from mimflow.metrics.registry import EXTRACTORS, METRICS
from mimflow.metrics.spec import ExtractorSpec, MetricSpec
from mimflow.networks.registry import NETWORKS
from mimflow.networks.spec import NetworkSpec
from mimflow.samplers.registry import SAMPLERS
from mimflow.samplers.spec import SamplerSpec
from mimflow.spec.base import OUTSIDE_KEY, Spec
from mimflow.spec.protocol import Drawing, Reference
from mimflow.spec.run import System
from mimflow.spec.shapes import ImageShape
from mimflow.training.spec import Compute, Phase


class Task(Spec):
    """Base of the tasks. Raise `version` when a stage's results change for the same task."""

    stage: ClassVar[str]
    version: ClassVar[int] = 1


class PrepareTask(Task):
    """Images of a data set, cut, split and written once. Inputs: none."""

    stage = "prepare"
    dataset: DatasetSpec


class Shapes(Spec):
    """What a system needs to know of a data set to be built."""

    channels: int
    size: int
    num_classes: int

    @property
    def image(self) -> ImageShape:
        return ImageShape(self.channels, self.size)

    @classmethod
    def of(cls, dataset: DatasetSpec) -> Shapes:
        return cls(channels=dataset.channels, size=dataset.transform.size, num_classes=dataset.num_classes)


FEATURES = "features:"
"""What the roles of stored features begin with; the network's name follows."""


class FeaturesTask(Task):
    """What a frozen network makes of every image of a data set. Inputs: `data`."""

    stage = "features"
    network: Annotated[NetworkSpec, NETWORKS]
    compute: Annotated[Compute, OUTSIDE_KEY]


class TrainTask(Task):
    """One phase of one seed.

    Inputs: `data`; `start0`, `start1`, … for weights of other jobs; `features:NAME` for what the network of that name
    makes of the data.
    """

    stage = "train"
    shapes: Shapes
    system: System
    phase: Phase
    seed: int
    compute: Compute


class SampleTask(Task):
    """What a sampler draws from a trained system. Inputs: `weights`, and `data` where the sampler reads it."""

    stage = "sample"
    shapes: Shapes
    system: System
    sampler: Annotated[SamplerSpec, SAMPLERS]
    samples: Drawing
    """`Samples` for samplers that draw from the prior."""
    seed: int
    """The run's seed: runs that differ in it draw different noise."""
    compute: Compute


class EvaluateTask(Task):
    """Metrics of what a sampler gave. Inputs: `samples`, `data` to compare images with, `extractor` that a run trained.

    Without a reference the metrics are those of a representation, which need no extractor either.
    """

    stage = "evaluate"
    shapes: Shapes
    extractor: Annotated[ExtractorSpec, EXTRACTORS] | None
    extractor_system: System | None
    """The system that the extractor's weights belong to, where a run trained it."""
    metrics: list[Annotated[MetricSpec, METRICS]]
    reference: Reference | None
    """The protocol's for samples; for reconstructions the split of their originals."""
    compute: Annotated[Compute, OUTSIDE_KEY]
