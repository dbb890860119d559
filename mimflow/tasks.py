"""What each stage depends on: a task is all that a job reads besides its inputs, and all that its key is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from mimflow.artifacts.manifest import Artifact, canonical
from mimflow.compute.spec import Compute
from mimflow.data.pins import Pin
from mimflow.data.spec import DatasetSpec
from mimflow.features.registry import EXTRACTORS, NETWORKS
from mimflow.features.spec import ExtractorSpec, NetworkSpec
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec, Reference
from mimflow.outputs.drawing import Drawing, Samples
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import OUTSIDE_KEY, Name, Spec
from mimflow.system.spec import Shapes, System
from mimflow.training.spec import Phase


class Task(Spec):
    """Base of the tasks. Raise `version` when a stage's results change for the same task."""

    stage: ClassVar[str]
    version: ClassVar[int] = 1

    def hashed(self, inputs: Mapping[str, str]) -> dict[str, Any]:
        """What the key of a job with this task is the digest of; `inputs` are the keys of what it reads, by role."""
        return {"stage": self.stage, "version": self.version, "task": self.identity(), "inputs": dict(inputs)}

    def key(self, inputs: Mapping[str, str]) -> str:
        """The key of a job with this task."""
        return hashlib.sha256(canonical(self.hashed(inputs)).encode()).hexdigest()

    @property
    def processes(self) -> int:
        """How many processes share a job with this task out, on one machine, unless a launcher says otherwise."""
        return 1

    def job(self, inputs: Mapping[str, Artifact]) -> str:
        """The same, given what the job reads: what its work in progress is signed with."""
        return self.key({role: artifact.manifest.key for role, artifact in inputs.items()})


class PrepareTask(Task):
    """Images of a data set, cut, split and written once. Inputs: none."""

    stage = "prepare"
    dataset: DatasetSpec
    files: Pin | None = None
    """The files of a folder of images; null where a package brings them."""


FEATURES_ROLE = "features:"
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
    version = 2
    shapes: Shapes
    system: System
    phase: Phase
    phase_name: Annotated[Name, OUTSIDE_KEY]
    """How messages name it."""
    seed: int
    compute: Compute

    @property
    def processes(self) -> int:
        """As many as there are to be devices; a phase that is solved in closed form has nothing to share out."""
        return 1 if self.phase.objective.closed_form else self.compute.devices


class InferTask(Task):
    """What an output draws from a trained system. Inputs: `weights`, and `data` where the output reads it."""

    stage = "infer"
    version = 2
    shapes: Shapes
    system: System
    output: Annotated[OutputSpec, OUTPUTS]
    samples: Samples | Drawing
    """`Samples` for outputs that draw from the prior."""
    seed: int
    """The run's seed: runs that differ in it draw different noise."""
    compute: Compute


class EvaluateTask(Task):
    """Metrics of an output. Inputs: `output`, `data` where there is a reference, `extractor` where a run trained it.

    The content decides whether there is a reference, and whether metrics look through an extractor.
    """

    stage = "evaluate"
    content: Name
    """What the output holds, by its name in `CONTENTS`."""
    shapes: Shapes
    extractor: Annotated[ExtractorSpec, EXTRACTORS] | None
    extractor_system: System | None
    """The system that the extractor's weights belong to, where a run trained it."""
    metrics: list[Annotated[MetricSpec, METRICS]]
    reference: Reference | None
    """What the content says that it is compared with."""
    compute: Annotated[Compute, OUTSIDE_KEY]


TASKS: dict[str, type[Task]] = {
    task.stage: task for task in (PrepareTask, FeaturesTask, TrainTask, InferTask, EvaluateTask)
}
"""The tasks by stage."""
