"""What a plan comes to: time, disk and hours of GPUs, from earlier results here, or from the parts' arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mimflow.artifacts.manifest import Manifest
from mimflow.plan import units
from mimflow.plan.costs import Costs, drawn, images_of
from mimflow.plan.jobs import Job
from mimflow.plan.status import History
from mimflow.system.spec import Shapes, System
from mimflow.tasks import FeaturesTask, InferTask, LatentsTask, PrepareTask, TrainTask

NVIDIA = Path("/proc/driver/nvidia/version")
"""There where the driver of a GPU is loaded."""
BYTES = 4
"""Of a weight."""
MOMENTS = 2
"""Tensors that the optimiser keeps of each that is trained."""


@dataclass(frozen=True)
class Estimate:
    """What jobs that would run take together."""

    jobs: int
    recorded: int
    """How many of them have run before on this machine under their names; of the others the arithmetic tells."""
    seconds: float
    """One after the other."""
    longest: float
    """The longest chain of them: less is not possible, however many run side by side."""
    gpu_seconds: float
    """Of those that would take a GPU."""
    bytes: float

    @property
    def words(self) -> str:
        """A line: `about 1:10:00, 40:00 if side by side; 120 MB; 0.7 GPU-hours (from earlier runs here)`."""
        source = "from earlier runs here" if self.recorded == self.jobs else "from the parts' arithmetic"
        if 0 < self.recorded < self.jobs:
            source = f"{self.recorded} of {self.jobs} jobs from earlier runs here, the others from their arithmetic"
        side = f", {units.span(self.longest)} if side by side" if self.longest < self.seconds else ""
        gpu = f"; {self.gpu_seconds / 3600:.2g} GPU-hours" if self.gpu_seconds else ""
        return f"about {units.span(self.seconds)}{side}; {units.size(self.bytes)}{gpu} ({source})"


class Estimator:
    """What jobs of a project would take; `known` are jobs to learn from how fast this machine is."""

    def __init__(self, root: Path, known: Iterable[Job]):
        self.root = root
        self._costs, self._history = Costs(root, known), History(root)

    def of(self, jobs: Iterable[Job]) -> Estimate:
        """What these jobs would take, none of which is done."""
        asked = list(jobs)
        seconds = {job.id: self._costs.seconds(job) for job in asked}
        return Estimate(
            jobs=len(asked),
            recorded=sum(self._costs.recorded(job) is not None for job in asked),
            seconds=sum(seconds.values()),
            longest=max(self._costs.chains(asked).values(), default=0.0),
            gpu_seconds=sum(seconds[job.id] * job.task.processes for job in asked if _takes_gpu(job, self._history)),
            bytes=sum(_bytes(job, self._history, self.root) for job in asked),
        )


def estimate(root: Path, jobs: Iterable[Job], known: Iterable[Job]) -> Estimate:
    """What these jobs would take, none of which is done; `known` are jobs to learn from how fast this machine is."""
    return Estimator(root, known).of(jobs)


def _newest(job: Job, history: History) -> Manifest | None:
    found = history.stage(job.stage).get(job.name, [])
    return found[-1] if found else None


def _takes_gpu(job: Job, history: History) -> bool:
    """Whether a job takes a GPU; `auto` does where its name did before, or else where there is one."""
    if job.compute is None or job.compute.device == "cpu":
        return False
    earlier = _newest(job, history)
    if job.compute.device == "cuda" or earlier is None:
        return bool(job.compute.device == "cuda" or NVIDIA.is_file())
    return earlier.made.get("gpu") is not None


def _bytes(job: Job, history: History, root: Path) -> float:
    """What a result takes on the disk: as the newest of its name, or by arithmetic."""
    earlier = _newest(job, history)
    if earlier is not None:
        return sum(file.size for file in earlier.files.values())
    match job.task:
        case PrepareTask():
            return sum(images_of(job, root).values()) * Shapes.of(job.task.dataset).image.dimensions
        case FeaturesTask():
            network, images = job.task.network, images_of(job.inputs["data"], root)
            return sum(images.values()) * network.side**2 * network.channels * 2  # float16
        case LatentsTask():
            latent = job.task.tokenizer.latent_shape(job.task.shapes.image)
            # Means and spreads of an image and its mirror image, float16.
            return sum(images_of(job.inputs["data"], root).values()) * 2 * 2 * latent.tokens * latent.channels * 2
        case TrainTask():
            return _weights(job.task)
        case InferTask():
            return drawn(job, job.task, root) * job.task.shapes.image.dimensions
    return 0.0  # numbers alone


def _weights(task: TrainTask) -> float:
    """Those of the last step, averages, snapshots, and the moments of what is trained."""
    phase = task.phase
    parameters = _parameters(task.system, task.shapes)
    whole = sum(parameters.values())
    copies = 1 + (phase.ema is not None)
    if phase.objective.closed_form:
        return BYTES * whole
    trained = sum(parameters.get(name, 0.0) for name in phase.trained)
    return BYTES * ((copies + len(phase.snapshots)) * whole + MOMENTS * trained)


def _parameters(system: System, shapes: Shapes) -> dict[str, float]:
    """About how many parameters modules have: a linear map uses each once a token, a convolution once a place.

    Of convolutional networks, which have the most parameters where there are few places, it is the order alone.
    """
    image, found = shapes.image, dict[str, float]()
    places = image.size**2 / 4
    if system.tokenizer is not None:
        grid = system.tokenizer.patch_grid(image)
        found["tokenizer"] = system.tokenizer.multiplications(image) / (grid**2 if grid is not None else places)
        if system.prior is not None:
            latent = system.tokenizer.latent_shape(image)
            found["prior"] = system.prior.multiplications(latent) / latent.tokens
    if system.classifier is not None:
        found["classifier"] = system.classifier.multiplications(image) / places
    return found
