"""What each stage depends on: a task is all that a job reads besides its inputs, and all that its key is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from mimflow.artifacts.manifest import Artifact, canonical
from mimflow.compute.spec import Compute
from mimflow.contents.spec import GivenSamples
from mimflow.data.pins import Pin
from mimflow.data.spec import DatasetSpec
from mimflow.features.registry import EXTRACTORS, NETWORKS
from mimflow.features.spec import ExtractorSpec, NetworkSpec
from mimflow.metrics.reference.registry import REFERENCES
from mimflow.metrics.reference.spec import ReferenceSpec
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec
from mimflow.outputs.drawing import Drawing, Samples
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import IN_KEY_IF_SET, OUTSIDE_KEY, Name, Spec
from mimflow.spec.weights import FileWeights, Weights
from mimflow.system.spec import Shapes, System
from mimflow.tokenizers.registry import TOKENIZERS
from mimflow.tokenizers.spec import TokenizerSpec
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


LATENTS_ROLE = "latents"
"""The role of stored latents."""


class LatentsTask(Task):
    """What a frozen tokenizer makes of every image of a data set, and of its mirror image.

    Inputs: `data`, and `weights` where another job has the tokenizer's.
    """

    stage = "latents"
    shapes: Shapes
    tokenizer: Annotated[TokenizerSpec, TOKENIZERS]
    weights: FileWeights | None = None
    """A file that has the tokenizer's weights; null where a job has them, or the tokenizer's spec names its own."""
    ema: bool = False
    """Whether the job's averaged weights are meant."""
    compute: Annotated[Compute, OUTSIDE_KEY]


class TrainTask(Task):
    """One phase of one seed.

    Inputs: `data`; `start0`, `start1`, … for weights of other jobs; `features:NAME` for what the network of that name
    makes of the data; `latents` for what a frozen tokenizer makes of it.
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
    """What an output draws from a trained system.

    Inputs: `weights` of the run's last phase, or `weights0`, `weights1`, … where a run without training takes those of
    other jobs; `data` where the output reads it.
    """

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
    weights: Annotated[list[Weights] | None, IN_KEY_IF_SET] = None
    """Of a run without training, the weights that it is given; null: those of the job `weights`."""


class ReferenceTask(Task):
    """Statistics of the images that others are compared with. Inputs: `data` of a split, `extractor` where a run
    trained it.
    """

    stage = "reference"
    shapes: Shapes
    reference: Annotated[ReferenceSpec, REFERENCES]
    extractor: Annotated[ExtractorSpec, EXTRACTORS]
    extractor_system: System | None
    """The system that the extractor's weights belong to, where a run trained it."""
    features: bool
    """Whether the features of each image are kept, too: for metrics that compare these."""
    compute: Annotated[Compute, OUTSIDE_KEY]


REFERENCE_ROLE = "reference"
"""The role of the reference that metrics share; of one of a metric's own, a colon and the metric's kind follow."""


class EvaluateTask(Task):
    """Metrics of an output, or of samples that were made elsewhere.

    Inputs: `output` but where samples are given; `data` where images are compared with their originals; `reference`
    and `reference:METRIC` where metrics compare features with a reference; `extractor` where a run trained it. The
    content decides what the reference is, and whether metrics look through an extractor.
    """

    stage = "evaluate"
    version = 2
    content: Name
    """What the output holds, by its name in `CONTENTS`."""
    shapes: Shapes
    extractor: Annotated[ExtractorSpec, EXTRACTORS] | None
    extractor_system: System | None
    """The system that the extractor's weights belong to, where a run trained it."""
    metrics: list[Annotated[MetricSpec, METRICS]]
    reference: Annotated[ReferenceSpec, REFERENCES] | None
    """What the content says that it is compared with."""
    given: GivenSamples | None = None
    """Samples that were made elsewhere."""
    asked: Samples | None = None
    """How many samples of which classes there have to be of those."""
    compute: Annotated[Compute, OUTSIDE_KEY]


TASKS: dict[str, type[Task]] = {
    task.stage: task
    for task in (PrepareTask, FeaturesTask, LatentsTask, TrainTask, InferTask, ReferenceTask, EvaluateTask)
}
"""The tasks by stage."""
