"""Stored latents: what a frozen tokenizer makes of each image of a data set and its mirror image, two files a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimflow.artifacts.manifest import Artifact

DTYPE = np.dtype(np.float16)
MEAN, SPREAD = "mean", "spread"
"""Of the posterior before its scale: its mean, and its standard deviation where the tokenizer draws from it."""


@dataclass(frozen=True)
class StoredLatentsFacts:
    """How much a tokenizer gave."""

    tokens: int
    channels: int
    drawn: bool
    """Whether there is a spread."""
    images: dict[str, int]
    """By split."""
    device: str


def latents_file(split: str, part: str) -> str:
    """The name of a split's means or spreads: float16 (N, 2, tokens, channels), of an image and its mirror image."""
    return f"{split}.{part}.npy"


def open_latents(artifact: Artifact, split: str) -> dict[str, np.ndarray]:
    """A split's means and spreads by name, verified, mapped from the files and read when indexed."""
    files = {part: latents_file(split, part) for part in (MEAN, SPREAD)}
    return {
        part: np.load(artifact.file(file), mmap_mode="r")
        for part, file in files.items()
        if file in artifact.manifest.files
    }
