"""Reconstructed bands as metrics are given them: beside the bands of the originals."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from mimflow.artifacts.manifest import canonical
from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.contents.images import open_images
from mimflow.metrics.context import ImageComparison
from mimflow.outputs.band.output import banded_levels

PART = 256
"""Images that are filtered at once."""


def open_bands(content: Content, evaluation: Evaluation) -> Opened:
    """As of reconstructions, with the reference filtered as the output's own images were.

    Raises what `open_images` does.
    """
    opened = open_images(content, evaluation)
    given = opened.given
    assert isinstance(given, ImageComparison)
    output = evaluation.output.manifest.task["output"]
    which, window = output["band"], output["window"]
    filtered = [
        banded_levels(given.reference[start : start + PART], which, window)
        for start in range(0, len(given.reference), PART)
    ]
    name = hashlib.sha256(canonical([given.reference_name, which, window]).encode()).hexdigest()[:16]
    return replace(
        opened,
        given=replace(given, reference=np.concatenate(filtered), reference_name=f"reference-{name}"),
    )
