"""Tiny trainings of every objective; run as a script, one of the processes that share them out."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
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
    SignalAt,
    tiny_task,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.compute.launch import place
from mimflow.errors import DataError, Interrupted, MimflowError, PeerLostError
from mimflow.objectives.base import Batch, Objective
from mimflow.progress import Progress
from mimflow.stages import train
from mimflow.stages.launch import run_together
from mimflow.tasks import TrainTask
from mimflow.training.batches import Shuffled

LEVELS = {"kind": "levels", "t1": 0.3}
ITARFLOW = {
    "tokenizer": {"kind": "pixel", "patch_size": 4},
    "prior": {"kind": "itarflow", "width": 8, "blocks": [1, 1], "head_width": 4, "expansion": 2},
}
NORMALISED: Any = MASKED_AE | {"tokenizer": MASKED_AE["tokenizer"] | {"latent_norm": "batch"}}
VOLUME_PRESERVING: Any = TARFLOW | {"prior": TARFLOW["prior"] | {"volume_preserving": True}}
SMOOTH: dict[str, Any] = {"perceptual": []}
"""Without frozen networks in the gradient: where rounding falls on the other side of a kink (ReLU), it jumps by far
more than rounding, and no two orders of sums would agree."""
EVERY: dict[str, dict[str, Any]] = {
    "nll": {"system": TARFLOW, "objective": NLL},
    "nll, skipping": {"system": TARFLOW, "objective": NLL, "on_nonfinite": "skip"},
    "volume preserving": {"system": VOLUME_PRESERVING, "objective": NLL},
    "noise levels": {"system": ITARFLOW, "objective": {"kind": "nll", "noise": LEVELS, "label_drop": 0.1}},
    "velocity": {"system": SIT, "objective": VELOCITY},
    "cross entropy, batch norm": {"system": CONVNET, "objective": CLASSIFY},
    "joint": {"system": MASKED_AE, "objective": JOINT | SMOOTH},
    "joint, latents normalised over a batch": {
        "system": NORMALISED,
        "objective": {"kind": "joint", "noise": ADDITIVE},
        "batch_size": 32,  # a norm over the two images of a part would make signs of their difference
    },
    "joint, frozen encoder, LeCAM": {"system": MASKED_AE, "objective": JOINT_FROZEN},
    "decoder against a discriminator": {"system": MASKED_AE, "objective": DECODER},
    "autoencoder, adaptive weight": {"system": KL_VAE, "objective": AUTOENCODER | SMOOTH},
}
"""What can be trained by steps: every objective, and whatever of a system keeps running statistics."""
OPTIMIZER = {"kind": "adamw", "lr": 1e-3, "betas": [0.9, 0.95], "weight_decay": 1e-4, "eps": 1.0}
"""With an `eps` far above them, steps are in proportion to gradients. Those that are 0 but for rounding, as of a bias
before a softmax or a norm, would be rounding noise over rounding noise otherwise."""


def task_of(name: str, compute: dict[str, Any] | None = None, **changes: Any) -> TrainTask:
    """Twenty steps of four parts each."""
    plain = {"steps": 20, "accumulate": 4, "optimizer": OPTIMIZER, "checkpoint_seconds": 3600.0, "snapshots": [0.5]}
    task = tiny_task(**EVERY[name] | plain | changes)
    return task.model_copy(update={"compute": task.compute.model_copy(update=compute)}) if compute else task


def train_one(
    name: str,
    data: Artifact,
    work: Path,
    stream: io.StringIO | None = None,
    compute: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Train one of them, with changes of its `compute` and its phase."""
    progress = Progress(name, interval=0.0, stream=stream or io.StringIO())
    train.run(task_of(name, compute, **changes), {"data": data}, work, progress)


class Trial(NamedTuple):
    """A training that several processes share out, and what befalls the last of them."""

    name: str
    """Which of `EVERY`."""
    folder: str
    compute: dict[str, Any] = {}
    """Changes of its `compute`."""
    stop_at: int | None = None
    """It is sent SIGTERM after so many steps; after the message, the processes go on with the next trial."""
    fail_at: int | None = None
    """It finds an image missing in this step."""
    break_at: int | None = None
    """Its losses are NaN in this step."""


def together(count: int, data: Artifact, work: Path, *trials: Trial) -> tuple[int, str]:
    """Run trials, one after the other, in so many processes that this script starts: the exit code, and what they say."""
    before, stderr, log = os.environ.get("PYTHONPATH"), os.dup(2), work / "said"
    os.environ["PYTHONPATH"] = ":".join(entry for entry in sys.path if entry)
    try:
        with log.open("wb") as stream:
            os.dup2(stream.fileno(), 2)
            code = run_together([sys.executable, __file__, str(data.folder), str(work), json.dumps(trials)], count)
    except PeerLostError as error:
        error.add_note(log.read_text(encoding="utf-8", errors="replace"))  # why one of them ended, in its own words
        raise
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return code, log.read_text(encoding="utf-8")


def _fail_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let this process find an image missing in a step, counted from 0."""
    take = Shuffled.part

    def part(self: Shuffled, at: int, number: int) -> Batch:
        if at == step:
            raise DataError("images.npy: an image is gone")
        return take(self, at, number)

    patch.setattr(Shuffled, "part", part)


def break_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the losses of this process be NaN in a step, counted from 0."""

    def forward(self: Objective, *arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, figures = self.loss(*arguments)
        return (loss * torch.nan if self.training and self.step == step else loss), figures

    patch.setattr(Objective, "forward", forward)


def tensors(work: Path) -> dict[str, Tensor]:
    """All tensors of what was trained: weights, averages, moments, snapshots."""
    out = work / "out"
    return {
        f"{path.relative_to(out)}: {key}": tensor
        for path in sorted(out.rglob("*.safetensors"))
        for key, tensor in load_file(path).items()
    }


def try_one(trial: Trial, data: Artifact, work: Path, last: bool) -> None:
    """This process's share of a trial; whether it is the last."""
    stream = SignalAt(trial.stop_at) if last and trial.stop_at is not None else None
    with pytest.MonkeyPatch.context() as patch:
        if last and trial.fail_at is not None:
            _fail_at(patch, trial.fail_at)
        if last and trial.break_at is not None:
            break_at(patch, trial.break_at)
        train_one(trial.name, data, work / trial.folder, stream, trial.compute)


def main(folder: str, work: str, given: str) -> None:
    """Try all; the exit code is that of what stopped the last, or of what failed before."""
    trials = [Trial(*fields) for fields in json.loads(given)]
    rank, size = place()
    for index, trial in enumerate(trials):
        try:
            try_one(trial, Artifact.open(Path(folder)), Path(work), last=rank == size - 1)
        except (MimflowError, SystemExit) as error:  # only the first process speaks, others end without a word
            code = error.exit_code if isinstance(error, MimflowError) else error.code
            if isinstance(error, MimflowError):
                print(error, file=sys.stderr)
            if index == len(trials) - 1 or code != Interrupted.exit_code:
                sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
