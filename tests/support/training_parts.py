"""Tiny data and tiny train jobs; run as a script, one job that can be killed."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from artifacts import data_facts, store_artifact

from mimflow.artifacts.checkpoint import TrainFacts
from mimflow.artifacts.manifest import Artifact
from mimflow.errors import Interrupted
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.registry import OBJECTIVES
from mimflow.progress import Progress
from mimflow.stages import train
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tasks import TrainTask
from mimflow.training.spec import Phase

SHAPES = Shapes(channels=1, size=8, num_classes=3)
TRAIN, VAL = 40, 12

TARFLOW = {
    "tokenizer": {"kind": "pixel", "patch_size": 4},
    "prior": {"kind": "tarflow", "width": 8, "blocks": [1, 1], "head_width": 4, "expansion": 2},
}
SIT = {
    "tokenizer": {"kind": "pixel", "patch_size": 2},
    "prior": {"kind": "sit", "width": 8, "layers": 1, "head_width": 4, "patch_size": 2},
}
GAUSSIAN = {"tokenizer": {"kind": "pixel", "patch_size": 4}, "prior": {"kind": "class_gaussian"}}
CLASSIFY = {"kind": "cross_entropy"}
CONVNET = {"classifier": {"kind": "convnet", "widths": [4, 8], "features": 6}}

VIT = {"width": 16, "layers": 1, "heads": 2}
MASKED_AE = {
    "tokenizer": {
        "kind": "masked_ae",
        "patch_size": 2,
        "latents": 4,
        "channels": 6,
        "encoder": VIT,
        "decoder": VIT,
        "mask": {"kind": "uniform", "low": 0.4, "high": 0.6},
    },
    "prior": {"kind": "tarflow", "width": 8, "blocks": [1, 1], "head_width": 4, "expansion": 2},
}
"""Sixteen patches, four latent tokens."""

KL_VAE = {
    "tokenizer": {
        "kind": "kl_vae",
        "channels": 2,
        "width": 4,
        "multipliers": [1, 2],
        "blocks": 1,
        "groups": 2,
        "variance": {"kind": "learnable"},
    },
    "prior": {"kind": "tarflow", "width": 8, "blocks": [1, 1], "head_width": 4, "expansion": 2},
}
"""Sixteen latents of two channels."""
MEASURED = KL_VAE | {"tokenizer": KL_VAE["tokenizer"] | {"scale": "measured"}}  # type: ignore[operator]
"""The same with a scale that is measured."""

NETWORK = {"kind": "efficientnet_lite0", "stage": 2, "input_size": 16}
"""A map of 4 × 4 places with 24 features."""
ADDITIVE = {"kind": "additive", "std": 0.3}
JOINT = {
    "kind": "joint",
    "noise": ADDITIVE,
    "label_drop": 0.1,
    "perceptual": [{"kind": "features", "network": NETWORK}],
    "alignment": [
        {"network": NETWORK, "centred": True, "projector": [8, 8]},
        {"network": NETWORK, "mode": "average", "projector": [8], "where": {"kind": "prior", "block": 1, "layer": 0}},
    ],
    "auxiliary": [{"network": NETWORK, "centred": True, "width": 8, "layers": 1, "heads": 2}],
}
JOINT_FROZEN = {
    "kind": "joint",
    "noise": ADDITIVE,
    "encoder": "frozen",
    "alignment": [{"network": NETWORK, "projector": [8], "where": {"kind": "prior", "block": 0, "layer": 0}}],
    "adversarial": {"layers": 1, "width": 4, "lecam": 1e-3},
}
DECODER = {"kind": "decoder", "noise": ADDITIVE, "masked": False, "adversarial": {"layers": 1, "width": 4}}
AUTOENCODER = {
    "kind": "autoencoder",
    "kl_weight": 1e-3,
    "perceptual": [{"kind": "features", "network": NETWORK}],
    "adversarial": {"layers": 1, "width": 4, "adaptive": True},
}

VELOCITY = {"kind": "velocity", "noise": ADDITIVE, "label_drop": 0.1}
NLL = {"kind": "nll", "noise": {"kind": "gaussian", "std": 0.3}, "label_drop": 0.1}
OPTIMIZER = {"kind": "adamw", "lr": 1e-2, "betas": [0.9, 0.95], "weight_decay": 1e-4}


def phase(**changes: Any) -> dict[str, Any]:
    """Sixteen steps of everything that a phase can do."""
    return {
        "objective": NLL,
        "steps": 16,
        "batch_size": 8,
        "accumulate": 2,
        "optimizer": OPTIMIZER,
        "schedule": {"decay": "cosine", "warmup_steps": 3},
        "clip": 1.0,
        "ema": 0.9,
        "augment": {"flip": True, "shift": 1},
        "snapshots": [0.0, 0.5],
        "checkpoint_seconds": 1e-9,  # after every step
    } | changes


def tiny_task(system: dict[str, Any] = TARFLOW, device: str = "cpu", seed: int = 0, **changes: Any) -> TrainTask:
    """A job of training on `tiny_data`."""
    return TrainTask.model_validate(
        {
            "shapes": SHAPES,
            "system": system,
            "phase": phase(**changes),
            "phase_name": "main",
            "seed": seed,
            "compute": {"device": device, "threads": 1},
        }
    )


def tiny_data(folder: Path) -> Artifact:
    """Three classes of 8×8 images, a bright third each, under noise."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for split, count in (("train", TRAIN), ("val", VAL)):
        labels = np.arange(count) % 3
        images = random.integers(0, 80, (count, 8, 8, 1))
        for image, label in zip(images, labels, strict=True):
            image[3 * label : 3 * label + 2] += 150
        np.save(folder / f"{split}.images.npy", images.astype(np.uint8))
        np.save(folder / f"{split}.labels.npy", labels.astype(np.int64))
    return store_artifact(folder, stage="prepare", name="tiny", facts=data_facts("abc"))


class SignalAt(io.StringIO):
    """Takes progress lines, and sends this process a signal when a step is reported done."""

    def __init__(self, step: int | None = None, number: signal.Signals = signal.SIGTERM):
        super().__init__()
        self.step = step
        self.number = number

    def write(self, text: str) -> int:
        if f"step {self.step}/" in text:
            os.kill(os.getpid(), self.number)
        return super().write(text)


def train_tiny(task: TrainTask, data: Artifact, work: Path, stream: io.StringIO | None = None) -> TrainFacts:
    """Run the stage, a progress line a step."""
    return train.run(task, {"data": data}, work, Progress("tiny", interval=0.0, stream=stream or io.StringIO()))


def results(work: Path) -> dict[str, bytes]:
    """Every file that a finished job wrote."""
    out = work / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def interrupt(data: Artifact, work: Path, step: int, number: signal.Signals = signal.SIGTERM, **changes: Any) -> str:
    """Run the job until a signal arrives at this step; the message that it leaves with."""
    with pytest.raises(Interrupted) as caught:
        train_tiny(tiny_task(**changes), data, work, SignalAt(step, number))
    assert caught.value.exit_code == 143
    return str(caught.value)


def checkpoints(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "checkpoints").iterdir())


def rows(work: Path) -> list[dict[str, str]]:
    with (work / "out" / "log.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def objective_of(objective: dict[str, Any], modules: SystemModules) -> Objective:
    """An objective of a spec over a system's modules."""
    spec = (
        Phase.model_validate(phase(objective=objective)).objective
        if not OBJECTIVES.spec(objective["kind"]).closed_form
        else (Phase.model_validate({"objective": objective}).objective)
    )
    return OBJECTIVES.build(spec, modules, SHAPES)


def batch_of(images: torch.Tensor, labels: torch.Tensor | None = None) -> Batch:
    """Images (B, C, H, W) as a batch, of class 0 if no labels are given."""
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    return Batch(images, labels, torch.arange(len(images)))


def perturbed_modules(system: dict[str, Any]) -> SystemModules:
    """A system away from its start, where zero-initialised layers let no gradient pass."""
    torch.manual_seed(0)
    modules = SystemModules(System.model_validate(system), SHAPES)
    with torch.no_grad():
        for parameter in modules.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return modules


if __name__ == "__main__":
    folder, job = map(Path, sys.argv[1:])
    train.run(tiny_task(), {"data": Artifact.open(folder)}, job, Progress("tiny", interval=0.0))
