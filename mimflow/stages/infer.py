"""The infer stage: what an output draws from a trained system."""

from __future__ import annotations

from pathlib import Path

import torch

from mimflow.artifacts.checkpoint import weights_file
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.representation import RepresentationFacts
from mimflow.artifacts.samples import SamplesFacts
from mimflow.artifacts.shard import Shard
from mimflow.compute.devices import resolve
from mimflow.data.prepared import Prepared
from mimflow.outputs.base import Output, Setting
from mimflow.outputs.registry import OUTPUTS
from mimflow.progress import Progress
from mimflow.system.modules import SystemModules, load_weights
from mimflow.tasks import InferTask

OUT_OF_MEMORY = "a smaller samples.batch_size in the protocol, or compute.device: cpu"
"""What to change where memory runs out."""


def run(
    task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress
) -> SamplesFacts | RepresentationFacts:
    """Let the task's output draw from the trained system; the output says which files are its results."""
    setting, output = _opened(task, inputs, work, progress)
    return output.write(setting)


def draw(task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress, shard: Shard) -> None:
    """Draw a shard of what `run` then finds drawn."""
    setting, output = _opened(task, inputs, work, progress)
    output.draw(setting, shard)


def _opened(task: InferTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> tuple[Setting, Output]:
    torch.set_num_threads(task.compute.threads)
    device = resolve(task.compute.device)
    modules = SystemModules(task.system, task.shapes)
    weights = weights_file(task.output.ema)
    load_weights(modules, inputs["weights"].file(weights))
    modules.to(device).eval()
    data = Prepared.open(inputs["data"]) if task.output.reads_data else None
    job = task.job(inputs)
    setting = Setting(task.shapes, task.samples, task.seed, modules, weights, data, device, work, progress, job)
    return setting, OUTPUTS.build(task.output)
