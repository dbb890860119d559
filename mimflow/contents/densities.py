"""Likelihoods as metrics are given them."""

from __future__ import annotations

from mimflow.artifacts.facts import read_facts
from mimflow.artifacts.likelihood import LikelihoodFacts, read_likelihood
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.contents.base import Content, Evaluation, Opened
from mimflow.metrics.likelihood import Densities


def open_densities(content: Content, evaluation: Evaluation) -> Opened:
    """Log-likelihoods and what belongs to them, and how many images they are of."""
    assert evaluation.output is not None, "likelihoods are found here"
    facts = read_facts(evaluation.output, LikelihoodFacts)
    return Opened(Densities(facts, **read_likelihood(evaluation.output.file(content.file))), EvaluateFacts(facts.count))
