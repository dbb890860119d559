"""Where a run is computed."""

from __future__ import annotations

from typing import Annotated, Literal

from mimflow.spec.base import OUTSIDE_KEY, Count, Positive, Spec


class Compute(Spec):
    """Where a run is computed. The number of threads enters the key, because it changes bits on a CPU."""

    device: Annotated[Literal["auto", "cpu", "cuda"], OUTSIDE_KEY] = "auto"
    """The device to compute on; `auto` takes a GPU if there is one."""
    memory_gb: Annotated[Positive, OUTSIDE_KEY] = 80.0
    """Memory of the device in GB of 10⁹ bytes, an A100's or H100's if not given: `mimflow plan --memory` says what does
    not fit."""
    threads: Count = 1
    """CPU threads of a job. Small runs go faster side by side with one each."""
