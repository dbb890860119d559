"""A trained phase on disk: weights of the last step, averaged ones, and snapshots on the way, as safetensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WEIGHTS = "weights.safetensors"
"""Of the last step."""
AVERAGED = "ema.safetensors"
"""Averages of trained tensors over the steps, the rest as it is; only of a phase that has an `ema`."""

MOMENTS = "optimiser.safetensors"
"""The optimisers' moments after the last step, as `player.parameter.slot`: with weights and averages all that a phase
which continues this one goes on from. Written by every phase of gradient steps, twice the trained tensors: whether a
later one continues it is no part of its key, and runs that do and runs that do not share its job."""


def snapshot_name(share: float) -> str:
    """What a snapshot is called: the share of all steps at which it was made, as 0.25."""
    return f"{share:g}"


def snapshot_file(name: str) -> str:
    """The name of the file of a snapshot that is called so."""
    return f"snapshots/{name}.safetensors"


def weights_file(averaged: bool, snapshot: float | None = None) -> str:
    """The name of the weights that a spec's `ema` and `snapshot` ask for."""
    if snapshot is not None:
        return snapshot_file(snapshot_name(snapshot))
    return AVERAGED if averaged else WEIGHTS


@dataclass(frozen=True)
class TrainFacts:
    """What came out of a phase. Figures are by name; one is None where it could not be computed."""

    parameters: dict[str, int]
    """Trained ones, by module, and their total."""
    system_parameters: int
    """Of the whole system: a later phase may train a part of it."""
    steps: int
    epochs: float
    """Passes over the training split."""
    final: dict[str, float | None]
    """The last row of the log; in closed form, the figures on the training split."""
    val: dict[str, float | None]
    """Figures on the validation split at the end."""
    seconds: float
    peak_memory_mb: float
    device: str
    skipped: int = 0
    """Turns of players that were not finite and changed nothing, where the phase skips them."""
    prior_parameters: int | None = None
    """Of the system's prior alone, which is what papers count; None where it has none."""
    lr: float | None = None
    """Of the last step; None in closed form, as are images per second."""
    images_per_second: float | None = None
    snapshots: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Figures on the validation split, by snapshot."""
    health: dict[str, Any] = field(default_factory=dict)
    """Of the latent space and of what is decoded from it, where the objective shapes them."""
    processes: int = 1
    """How many shared the parts of a step out when it ended."""
    warnings: list[str] = field(default_factory=list)
    """What of these figures people should know, a line each."""


@dataclass(frozen=True)
class ImportFacts:
    """Where weights that others trained came from."""

    layout: str
    """Whose naming of tensors the file had."""
    file: str
    sha256: str
    tensors: int
