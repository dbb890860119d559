"""What each stage depends on: a task is all that a job reads besides its inputs, and all that its key is made of."""

from __future__ import annotations

from typing import Annotated, ClassVar

from mimflow.data.spec import DatasetSpec
from mimflow.metrics.registry import EXTRACTORS, METRICS
from mimflow.metrics.spec import ExtractorSpec, MetricSpec
from mimflow.samplers.registry import SAMPLERS
from mimflow.samplers.spec import SamplerSpec
from mimflow.spec.base import OUTSIDE_KEY, Spec
from mimflow.spec.protocol import Reference, Samples
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


class TrainTask(Task):
    """One phase of one seed. Inputs: `data`, and `start0`, `start1`, … for weights of other jobs."""

    stage = "train"
    shapes: Shapes
    system: System
    phase: Phase
    seed: int
    compute: Compute


class SampleTask(Task):
    """Images drawn from a trained system. Inputs: `weights`."""

    stage = "sample"
    shapes: Shapes
    system: System
    sampler: Annotated[SamplerSpec, SAMPLERS]
    samples: Samples
    seed: int
    """The run's seed: runs that differ in it draw different noise."""
    compute: Compute


class EvaluateTask(Task):
    """Metrics of samples. Inputs: `samples`, `data`, and `extractor` where a run trained it."""

    stage = "evaluate"
    shapes: Shapes
    extractor: Annotated[ExtractorSpec, EXTRACTORS]
    extractor_system: System | None
    """The system that the extractor's weights belong to, where a run trained it."""
    metrics: list[Annotated[MetricSpec, METRICS]]
    reference: Reference
    compute: Annotated[Compute, OUTSIDE_KEY]
