"""Latents as metrics are given them."""

from __future__ import annotations

from mimflow.artifacts.latents import read_latents
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.metrics.spectra.latents import LatentMaps


def open_latents(content: Content, evaluation: Evaluation) -> Opened:
    """The latents of an output, how many there are and of how many dimensions."""
    assert evaluation.output is not None, "latents are made here"
    latents, labels = read_latents(evaluation.output.file(content.file))
    return Opened(LatentMaps(latents, labels), EvaluateFacts(len(latents), features=latents[0].size))
