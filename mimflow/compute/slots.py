"""Which GPU of several a process takes: one that no other process of ours on this machine has."""

from __future__ import annotations

import os
import tempfile
from itertools import count
from pathlib import Path
from typing import IO

import torch

from mimflow.artifacts.lock import flock

VISIBLE = "CUDA_VISIBLE_DEVICES"
_held: list[IO[str]] = []
"""Locks, given back by the kernel when the process ends."""


def take_gpu() -> None:
    """Let this process see the GPU alone that the fewest processes of ours have taken; it is its own till it ends.

    Before CUDA is asked for anything. One that a scheduler has chosen is the only one to be seen, and stays.
    """
    visible = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    gpus = visible if VISIBLE in os.environ else [str(index) for index in range(torch.cuda.device_count())]
    if _held or len(gpus) < 2:
        return
    # Of this user, on this machine, whatever the project.
    folder = Path(tempfile.gettempdir()) / f"mimflow-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.environ[VISIBLE] = next(gpu for place in count() for gpu in gpus if _free(folder / f"{gpu}.{place}"))
    except OSError:
        os.environ[VISIBLE] = gpus[int(os.environ.get("LOCAL_RANK", 0)) % len(gpus)]


def _free(path: Path) -> bool:
    """Whether a place at a GPU was free: now it is taken."""
    stream = path.open("a", encoding="utf-8")
    try:
        if flock(stream):
            _held.append(stream)
            return True
        raise OSError("no locks on this file system")
    except BlockingIOError:
        stream.close()
        return False
