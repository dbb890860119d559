"""Tiny trainings of every objective; run as a script, one of the processes that share them out."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from training_parts import (
    ADDITIVE,
    AUTOENCODER,
    CLASSIFY,
    CONVNET,
    DECODER,
    JOINT,
    JOINT_FROZEN,
    KL_VAE,
    MASKED_AE,
    NLL,
    SIT,
    TARFLOW,
    VELOCITY,
    tiny_task,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.progress import Progress
from mimflow.stages import train

LEVELS = {"kind": "levels", "t1": 0.3}
ITARFLOW = {
    "tokenizer": {"kind": "pixel", "patch_size": 4},
    "prior": {"kind": "itarflow", "width": 8, "blocks": [1, 1], "head_width": 4, "expansion": 2},
}
NORMALISED: Any = MASKED_AE | {"tokenizer": MASKED_AE["tokenizer"] | {"latent_norm": "batch"}}
VOLUME_PRESERVING: Any = TARFLOW | {"prior": TARFLOW["prior"] | {"volume_preserving": True}}
EVERY: dict[str, dict[str, Any]] = {
    "nll": {"system": TARFLOW, "objective": NLL},
    "volume preserving": {"system": VOLUME_PRESERVING, "objective": NLL},
    "noise levels": {"system": ITARFLOW, "objective": {"kind": "nll", "noise": LEVELS, "label_drop": 0.1}},
    "velocity": {"system": SIT, "objective": VELOCITY},
    "cross entropy, batch norm": {"system": CONVNET, "objective": CLASSIFY},
    "joint": {"system": MASKED_AE, "objective": JOINT},
    "joint, latents normalised over a batch": {"system": NORMALISED, "objective": {"kind": "joint", "noise": ADDITIVE}},
    "joint, frozen encoder, LeCAM": {"system": MASKED_AE, "objective": JOINT_FROZEN},
    "decoder against a discriminator": {"system": MASKED_AE, "objective": DECODER},
    "autoencoder, adaptive weight": {"system": KL_VAE, "objective": AUTOENCODER},
}
"""What can be trained by steps: every objective, and whatever of a system keeps running statistics."""
OPTIMIZER = {"kind": "adamw", "lr": 1e-3, "betas": [0.9, 0.95], "weight_decay": 1e-4, "eps": 1e-3}
"""Gradients that are 0 but for rounding, as of biases before a softmax, are far below this `eps`: AdamW would divide
noise by noise."""


def task_of(name: str, **changes: Any) -> Any:
    """Twenty steps of four parts each."""
    plain = {"steps": 20, "accumulate": 4, "optimizer": OPTIMIZER, "checkpoint_seconds": 3600.0, "snapshots": [0.5]}
    return tiny_task(**EVERY[name] | plain | changes)


def train_all(names: list[str], data: Artifact, work: Path, **changes: Any) -> None:
    """Train these, each in a folder of its own."""
    for name in names:
        progress = Progress(name, interval=0.0, stream=io.StringIO())
        train.run(task_of(name, **changes), {"data": data}, work / name, progress)


def tensors(work: Path, name: str) -> dict[str, Tensor]:
    """All tensors of what was trained: weights, averages, moments, snapshots."""
    out = work / name / "out"
    return {
        f"{path.relative_to(out)}: {key}": tensor
        for path in sorted(out.rglob("*.safetensors"))
        for key, tensor in load_file(path).items()
    }


if __name__ == "__main__":
    folder, place, *chosen = sys.argv[1:]
    train_all(chosen or list(EVERY), Artifact.open(Path(folder)), Path(place))
