"""Where a run is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from mimflow.spec.base import OUTSIDE_KEY, Count, Spec


class Compute(Spec):
    """Where a run is computed. The number of threads, of each process, enters the key: it changes bits on a CPU."""

    device: Annotated[Literal["auto", "cpu", "cuda"], OUTSIDE_KEY] = "auto"
    """The device to compute on; `auto` takes a GPU if there is one."""
    threads: Count = 1
    """CPU threads of a job. Small runs go faster side by side with one each."""
    devices: Annotated[Count, OUTSIDE_KEY] = 1
    """Processes, each with a device of its own, that share out the parts of a training step (`accumulate` says how many
    there are). Results are those of one process up to the order of sums, so this is no part of the key."""
