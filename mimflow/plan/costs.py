"""What jobs cost, so that the longest chain of them starts first.

A job that has run before, on this machine and under its name, costs what its manifest says. Others cost what their
arithmetic takes at the speed of this machine's earlier jobs of their stage. Only the order in which jobs start follows
from it: nothing in a key, and no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median

from mimflow.artifacts.data import DataFacts
from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.manifest import Manifest
from mimflow.artifacts.provenance import describe_host
from mimflow.errors import ArtifactError
from mimflow.plan.activity import activity, worked_on
from mimflow.plan.jobs import Job
from mimflow.plan.status import History
from mimflow.system.spec import Shapes, System
from mimflow.tasks import EvaluateTask, FeaturesTask, InferTask, LatentsTask, PrepareTask, ReferenceTask, TrainTask

SPEED = 1e10
"""Multiplications a second of a stage that has not run yet: about what a core of a CPU does."""
START = 5.0
"""Seconds that any job takes besides."""
MANY = 1_000_000
"""Images of a data set that nobody has counted."""
READING = 10_000_000
"""What preparing an image takes, in multiplications that take as long."""
WITH_GRADIENT = 3
"""Passes that one forward and backward take together."""


class Costs:
    """What jobs of a project cost. `known` are jobs to learn from how fast this machine is at each stage."""

    def __init__(self, root: Path, known: Iterable[Job]):
        self.root = root
        self.known = tuple(known)
        self._history = History(root)
        self._host = describe_host()
        self._worked_on = worked_on(root)
        self._speeds: dict[str, float] = {}

    def seconds(self, job: Job) -> float:
        """About how long a job takes, or one that is begun at its speed still takes; 0 if its result is there."""
        if job.done(self.root):
            return 0.0
        begun = activity(self.root, job.id) if job.id in self._worked_on else None
        if begun is not None and begun.seconds_left is not None:
            return begun.seconds_left
        recorded = self.recorded(job)
        if recorded is not None:
            return recorded
        return START + multiplications(job, self.root) / self._speed(job.stage)

    def chains(self, jobs: Iterable[Job]) -> dict[str, float]:
        """By id, how long the longest chain takes that begins with each of these jobs and ends with one of them."""
        by_id = {job.id: job for job in jobs}
        readers: dict[str, list[Job]] = {}
        for job in by_id.values():
            for upstream in job.inputs.values():
                readers.setdefault(upstream.id, []).append(job)

        @cache
        def longest(job: str) -> float:
            return self.seconds(by_id[job]) + max((longest(reader.id) for reader in readers.get(job, [])), default=0.0)

        return {job: longest(job) for job in by_id}

    def recorded(self, job: Job) -> float | None:
        """Seconds of the newest result of the job's stage and name that was made on this machine."""
        for manifest in reversed(self._history.stage(job.stage).get(job.name, [])):
            if all(manifest.made.get(name) == value for name, value in self._host.items()):
                return _seconds(manifest)
        return None

    def _speed(self, stage: str) -> float:
        """Multiplications a second, the median over the jobs of a stage that have run here under their names."""
        if stage not in self._speeds:
            found = []
            for job in self.known:
                took = (self.recorded(job) or 0.0) - START if job.stage == stage else 0.0
                if took > 0 and (needed := multiplications(job, self.root)):
                    found.append(needed / took)
            self._speeds[stage] = median(found) if found else SPEED
        return float(self._speeds[stage])


def _seconds(manifest: Manifest) -> float:
    """What a result took; training says it of all its attempts together, a manifest of the last one and of shards."""
    shards = sum(shard["seconds"] for shard in manifest.made.get("shards", []))
    return max(float(manifest.made.get("seconds") or 0.0) + float(shards), float(manifest.facts.get("seconds") or 0.0))


def multiplications(job: Job, root: Path) -> float:
    """About how many multiplications a job takes. What objectives and metrics add to the passes is left out."""
    match job.task:
        case PrepareTask():
            return READING * sum(images_of(job, root).values())
        case FeaturesTask():
            return job.task.network.multiplications * sum(images_of(job.inputs["data"], root).values())
        case LatentsTask():
            images = sum(images_of(job.inputs["data"], root).values())
            return 2 * job.task.tokenizer.multiplications(job.task.shapes.image) * images
        case TrainTask():
            return _training(job.task, images_of(job.inputs["data"], root)["train"])
        case InferTask():
            return _drawing(job, job.task, root)
        case ReferenceTask():
            return _referred(job, job.task, root)
        case EvaluateTask():
            return _measuring(job, job.task, root)
    raise AssertionError(f"no arithmetic for the stage {job.stage}")


def images_of(prepare: Job, root: Path) -> dict[str, int]:
    """Images of each split: as they were counted, or as the spec or the pin tells."""
    assert isinstance(prepare.task, PrepareTask)
    with suppress(ArtifactError):
        if (result := prepare.result(root)) is not None:
            return read_facts(result, DataFacts).images
    known, pin = prepare.task.dataset.split_images, prepare.task.files
    val = known.get("val", 0)
    return {"train": known.get("train", pin.images - val if pin is not None else MANY), "val": val}


def _passes(system: System, shapes: Shapes, trained: Mapping[str, int], prior_passes: float = 1) -> float:
    """Multiplications of a pass of an image through the modules named in `trained`, as often as it says for each."""
    total = 0.0
    if system.tokenizer is not None:
        total += trained.get("tokenizer", 0) * system.tokenizer.multiplications(shapes.image)
        if system.prior is not None:
            latent = system.tokenizer.latent_shape(shapes.image)
            total += trained.get("prior", 0) * prior_passes * system.prior.multiplications(latent)
    if system.classifier is not None:
        total += trained.get("classifier", 0) * system.classifier.multiplications(shapes.image)
    return total


def _training(task: TrainTask, images: int) -> float:
    phase = task.phase
    passes = {name: WITH_GRADIENT if name in phase.trained else 1 for name in phase.objective.needs}
    seen = phase.steps * phase.batch_size if phase.steps is not None else (phase.epochs or 1) * images
    return seen * _passes(task.system, task.shapes, passes)


def drawn(job: Job, task: InferTask, root: Path) -> int:
    """How many images an output makes or looks at."""
    count = getattr(task.samples, "count", None)
    return count if count is not None else sum(images_of(job.inputs["data"], root).values())


def _drawing(job: Job, task: InferTask, root: Path) -> float:
    once = dict.fromkeys(task.system.modules, 1)
    return drawn(job, task, root) * _passes(task.system, task.shapes, once, task.output.prior_passes)


def _referred(job: Job, task: ReferenceTask, root: Path) -> float:
    """A pass of the reference's images through the extractor; none where statistics are given."""
    if "data" not in job.inputs:
        return 0.0
    count = getattr(task.reference, "count", None) or sum(images_of(job.inputs["data"], root).values())
    return count * _extraction(task)


def _measuring(job: Job, task: EvaluateTask, root: Path) -> float:
    """One pass of all images through the extractor."""
    if task.extractor is None:
        return 0.0
    if "output" not in job.inputs:  # samples that were made elsewhere
        return (task.asked.count if task.asked is not None else 0) * _extraction(task)
    output = job.inputs["output"]
    assert isinstance(output.task, InferTask)
    return drawn(output, output.task, root) * _extraction(task)


def _extraction(task: EvaluateTask | ReferenceTask) -> float:
    """Multiplications of a pass of an image through a task's extractor."""
    if task.extractor_system is not None:
        return _passes(task.extractor_system, task.shapes, {"classifier": 1})
    return float(task.extractor.multiplications) if task.extractor is not None else 0.0
