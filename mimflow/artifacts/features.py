"""Stored features: what a frozen network makes of every image of a data set, a file for each split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimflow.artifacts.manifest import Artifact

DTYPE = np.dtype(np.float16)


@dataclass(frozen=True)
class FeaturesFacts:
    """Which network, and how much it gave."""

    network: str
    places: int
    """Features of an image: side²."""
    channels: int
    images: dict[str, int]
    """By split."""
    device: str


def features_file(split: str, network: str) -> str:
    """The name of a split's features: float16 (N, places, channels). `network` is the network's own name."""
    return f"{split}.{network}.npy"


def open_features(artifact: Artifact, split: str, network: str) -> np.ndarray:
    """A split's features (N, places, channels) float16, verified, mapped from the file and read when indexed."""
    features: np.ndarray = np.load(artifact.file(features_file(split, network)), mmap_mode="r")
    return features
