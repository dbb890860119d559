"""Where a run is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from mimflow.spec.base import OUTSIDE_KEY, Count, Positive, Spec


class Compute(Spec):
    """Where a run is computed. The number of threads, of each process, enters the key: it changes bits on a CPU."""

    device: Annotated[Literal["auto", "cpu", "cuda"], OUTSIDE_KEY] = "auto"
    """The device to compute on; `auto` takes a GPU if there is one."""
    memory_gb: Annotated[Positive, OUTSIDE_KEY] = 80.0
    """Memory of the device in GB of 10⁹ bytes, an A100's or H100's if not given: `mimflow plan --memory` says what does
    not fit."""
    threads: Count = 1
    """CPU threads of a job. Small runs go faster side by side with one each."""
    devices: Annotated[Count, OUTSIDE_KEY] = 1
    """Processes, each with a device of its own, that share out the parts of a training step (`accumulate` says how many
    there are). Results are those of one process up to the order of sums, so this is no part of the key."""
    sharding: Annotated[Literal["none", "full"], OUTSIDE_KEY] = "none"
    """What each of several processes has of a model in training: all of it, or with `full` its part of parameters,
    gradients, moments and averages (FSDP2), a layer gathered as it is needed: slower, for what does not fit."""
    activation_checkpointing: Annotated[bool, OUTSIDE_KEY] = False
    """Whether training keeps what goes into a layer alone and computes the rest again in the backward pass: about a
    third slower, for what does not fit. Results are the same."""
    compile: Annotated[bool, OUTSIDE_KEY] = False
    """Whether layers are compiled for training (torch.compile). Results are the same up to rounding."""
    watch: Annotated[list[Literal["tensorboard", "wandb"]], OUTSIDE_KEY] = []
    """Where the rows of training's log are shown besides in it: TensorBoard's files of events, an offline run of
    Weights & Biases', both below `results/watch`. They need `pip install 'mimflow[watch]'`."""
