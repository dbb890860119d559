"""The infer stage: what an output draws from a trained system."""

from __future__ import annotations

from pathlib import Path

import torch

from mimflow.artifacts.checkpoint import weights_file
from mimflow.artifacts.latents import LatentsFacts
from mimflow.artifacts.likelihood import LikelihoodFacts
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.representation import RepresentationFacts
from mimflow.artifacts.samples import SamplesFacts
from mimflow.artifacts.shard import Shard
from mimflow.compute.devices import resolve
from mimflow.data.prepared import Prepared
from mimflow.errors import ArtifactError
from mimflow.nn.stepper import keeping_steppers
from mimflow.outputs.base import Output, Setting
from mimflow.outputs.registry import OUTPUTS
from mimflow.progress import Progress
from mimflow.spec.weights import FileWeights, RunWeights
from mimflow.system.modules import SystemModules, load_weights
from mimflow.tasks import InferTask
from mimflow.weights.given import given_file

OUT_OF_MEMORY = "a smaller samples.batch_size in the protocol, or compute.device: cpu"
"""What to change where memory runs out."""


def run(
    task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress
) -> SamplesFacts | RepresentationFacts | LatentsFacts | LikelihoodFacts:
    """Let the task's output draw from the trained system; the output says which files are its results."""
    setting, output = _opened(task, inputs, work, progress)
    with keeping_steppers():
        return output.write(setting)


def draw(task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress, shard: Shard) -> None:
    """Draw a shard of what `run` then finds drawn."""
    setting, output = _opened(task, inputs, work, progress)
    with keeping_steppers():
        output.draw(setting, shard)


def _opened(task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> tuple[Setting, Output]:
    torch.set_num_threads(task.compute.threads)
    device = resolve(task.compute.device)
    modules, weights = trained_system(task, inputs)
    modules.to(device)
    data = Prepared.open(inputs["data"]) if task.output.reads_data else None
    job = task.job(inputs)
    setting = Setting(task.shapes, task.samples, task.seed, modules, weights, data, device, work, progress, job)
    return setting, OUTPUTS.build(task.output)


def trained_system(task: InferTask, inputs: dict[str, Artifact]) -> tuple[SystemModules, str]:
    """The task's system with its weights, in evaluation mode, and the names of the files that they came from.

    ArtifactError for given weights that are missing, do not fit, or leave a module without any.
    """
    modules = SystemModules(task.system, task.shapes).eval()
    if task.weights is None:
        name = weights_file(task.output.ema, task.output.snapshot)
        load_weights(modules, inputs["weights"].file(name))
        return modules, name
    return modules, ", ".join(_given_weights(modules, task.weights, inputs))


def _given_weights(
    modules: SystemModules, given: list[RunWeights | FileWeights], inputs: dict[str, Artifact]
) -> list[str]:
    """Load weights that a run without training is given, one after the other; the names of their files."""
    names, left = [], {name for name, module in modules.named_children() if module.state_dict()}
    for position, weights in enumerate(given):
        if isinstance(weights, FileWeights):
            path = given_file(weights, "the weights of a run without training")
        else:
            path = inputs[f"weights{position}"].file(weights_file(weights.ema))
        left -= set(load_weights(modules, path, weights.modules))
        names.append(path.name)
    if "tokenizer" in left and modules.module("tokenizer").load_given_weights():
        left.remove("tokenizer")
    if left:
        raise ArtifactError(f"{', '.join(names)}: no weights for {' and '.join(sorted(left))} (name them in `weights`)")
    return names
