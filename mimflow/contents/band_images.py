"""Reconstructed bands as metrics are given them: beside the bands of the originals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.contents.images import open_images
from mimflow.metrics.context import ImageComparison
from mimflow.outputs.band.output import banded_levels

PART = 256
"""Images that are filtered at once."""


def open_bands(content: Content, evaluation: Evaluation) -> Opened:
    """As of reconstructions, with the originals filtered as the output's own images were.

    Raises what `open_images` does.
    """
    opened = open_images(content, evaluation)
    given = opened.given
    assert isinstance(given, ImageComparison) and evaluation.output is not None, "bands are made here"
    output = evaluation.output.manifest.task["output"]
    _, originals = given.pairs
    parts = [originals[start : start + PART] for start in range(0, len(originals), PART)]
    filtered = [banded_levels(part, output["band"], output["window"]) for part in parts]
    return replace(opened, given=replace(given, reference=np.concatenate(filtered)))
