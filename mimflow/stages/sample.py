"""The sample stage: what a sampler draws from a trained system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mimflow.artifacts.manifest import Artifact
from mimflow.data.prepared import Prepared
from mimflow.plan.tasks import SampleTask
from mimflow.progress import Progress
from mimflow.samplers.base import Setting
from mimflow.samplers.registry import SAMPLERS
from mimflow.system import SystemModules, load_weights
from mimflow.training.devices import resolve


def run(task: SampleTask, inputs: dict[str, Artifact], work: Path, progress: Progress) -> dict[str, Any]:
    """Let the task's sampler draw from the trained system; the sampler says which files are its results."""
    torch.set_num_threads(task.compute.threads)
    device = resolve(task.compute.device)
    modules = SystemModules(task.system, task.shapes)
    weights = "ema.safetensors" if task.sampler.ema else "weights.safetensors"
    load_weights(modules, inputs["weights"].file(weights))
    modules.to(device).eval()
    data = Prepared.open(inputs["data"]) if task.sampler.reads_data else None
    setting = Setting(task, modules, data, device, work, progress)
    return {"weights": weights, "device": device.type, **SAMPLERS.build(task.sampler).write(setting)}
