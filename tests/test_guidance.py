"""Guidance: the rule's formulas, and guided sampling against a slow, plain way of writing it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import TARFLOW, tiny_latents, tiny_prior
from torch import Tensor

from mimflow.nn.affine import Affine
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.tarflow.model import Tarflow
from mimflow.samplers.guidance import LinearRule
from mimflow.samplers.spec import LinearGuidance

LABELS = torch.tensor([0, 2, 1, NULL_CLASS])


def rule(**fields: Any) -> LinearRule:
    return LinearRule(LinearGuidance(**fields))


def affine(shift: float, log_scale: float) -> Affine:
    return Affine(torch.tensor([[shift]]), torch.tensor([[log_scale]]))


def test_annealing_rises_to_the_full_weight() -> None:
    assert [rule(weight=3.0).weight(step, 4) for step in range(4)] == [0.75, 1.5, 2.25, 3.0]
    assert [rule(weight=3.0, anneal=False).weight(step, 4) for step in range(4)] == [3.0] * 4


@pytest.mark.parametrize(
    ("what", "shift", "log_scale"),
    [(["shift", "log_scale"], 4.0, -1.1), (["shift"], 4.0, -0.5), (["log_scale"], 2.0, -1.1)],
)
def test_linear_rule_extrapolates_what_it_is_told_to(what: list[str], shift: float, log_scale: float) -> None:
    guided = rule(weight=2.0, anneal=False, what=what).combine(affine(2.0, -0.5), affine(1.0, -0.2), 0, 3)
    torch.testing.assert_close(guided, affine(shift, log_scale))


def test_equal_branches_are_left_alone() -> None:
    guided = rule(weight=5.0).combine(affine(2.0, -0.5), affine(2.0, -0.5), 1, 3)
    torch.testing.assert_close(guided, affine(2.0, -0.5))


def test_which_blocks_are_guided() -> None:
    assert [rule(weight=1.0).guides(block, 3) for block in range(3)] == [True, True, True]
    assert [rule(weight=1.0, blocks="deep").guides(block, 3) for block in range(3)] == [False, False, True]
    assert not any(rule(weight=0.0).guides(block, 3) for block in range(3))


def test_labels_of_the_null_branch() -> None:
    assert rule(weight=1.0).null_labels(LABELS).tolist() == [NULL_CLASS] * 4
    assert rule(weight=1.0, against="attention_temperature").null_labels(LABELS).tolist() == LABELS.tolist()


def slow_inverse(prior: Tarflow, z: Tensor, labels: Tensor, guidance: LinearGuidance) -> Tensor:
    """Token by token with a whole parallel pass for each branch and token, and TARFlow's formulas in full."""
    null = torch.full_like(labels, NULL_CLASS) if guidance.against == "class" else labels
    tokens, last = z.shape[1], len(prior.blocks) - 1
    for index in range(last, -1, -1):
        block = prior.blocks[index]
        z = z.flip(1) if index % 2 else z
        u = torch.zeros_like(z)
        u[:, 0] = z[:, 0]
        for t in range(1, tokens):
            conditional = block.predict(u, labels)
            unconditional = block.predict(u, null, guidance.temperature)
            b, a = conditional.shift[:, t], conditional.log_scale[:, t]
            g = guidance.weight * t / (tokens - 1) if guidance.anneal else guidance.weight
            if guidance.blocks == "deep" and index != last:
                g = 0.0
            if "log_scale" in guidance.what:
                a = a + g * (a - unconditional.log_scale[:, t])
            if "shift" in guidance.what:
                b = b + g * (b - unconditional.shift[:, t])
            u[:, t] = z[:, t] * a.exp() + b
        z = u.flip(1) if index % 2 else u
    return z


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"anneal": False},
        {"blocks": "deep"},
        {"what": ["shift"]},
        {"temperature": 0.5},
        {"against": "attention_temperature", "temperature": 1.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("volume_preserving", [False, True])
@torch.no_grad()
def test_guided_sampling_equals_the_slow_way(fields: dict[str, Any], volume_preserving: bool) -> None:
    prior = tiny_prior(TARFLOW.model_copy(update={"volume_preserving": volume_preserving}))
    guidance, z = LinearGuidance(weight=1.3, **fields), 0.5 * tiny_latents(4)
    expected = slow_inverse(prior, z, LABELS, guidance)
    sampled = prior.inverse(z, LABELS, LinearRule(guidance))
    torch.testing.assert_close(sampled, expected, atol=1e-9, rtol=1e-9)
    assert (sampled - prior.inverse(z, LABELS)).abs().max() > 1e-3


def test_weight_zero_runs_no_null_branch() -> None:
    class NoNullBranch(LinearRule):
        def null_labels(self, labels: Tensor) -> Tensor:
            raise AssertionError("a null branch was run")

    prior, z = tiny_prior(TARFLOW), tiny_latents(4)
    unguided = prior.inverse(z, LABELS, NoNullBranch(LinearGuidance(weight=0.0)))
    assert torch.equal(unguided, prior.inverse(z, LABELS))
    with pytest.raises(AssertionError, match="a null branch was run"):
        prior.inverse(z, LABELS, NoNullBranch(LinearGuidance(weight=0.1)))
