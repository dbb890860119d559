"""Guidance: the rule's formulas, and guided sampling against a slow, plain way of writing it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from parts import PRIOR_EXAMPLES, TARFLOW, label_of, predicted, tiny_latents, tiny_prior
from torch import Tensor

from mimflow.nn.affine import Affine, ScaledAffine
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.guidance.rules import GaussianProductRule, LinearRule, guidance_rule
from mimflow.priors.guidance.spec import AnyGuidance, GaussianProductGuidance, GuidanceInterval, LinearGuidance
from mimflow.priors.tarflow.model import Tarflow
from mimflow.spec.base import all_problems

LABELS = torch.tensor([0, 2, 1, NULL_CLASS])


def rule(**fields: Any) -> LinearRule:
    return LinearRule(LinearGuidance(**fields))


def affine(shift: float, log_scale: float) -> Affine:
    return Affine(torch.tensor([[shift]]), torch.tensor([[log_scale]]))


def product(weight: float, **fields: Any) -> GaussianProductRule:
    return GaussianProductRule(GaussianProductGuidance(weight=weight, **fields))


def log_density(gaussian: Affine, x: Tensor) -> Tensor:
    return torch.distributions.Normal(gaussian.shift.squeeze(), gaussian.log_scale.exp().squeeze()).log_prob(x)


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
    counted = [[rule(weight=1.0, blocks=count).guides(block, 3) for block in range(3)] for count in (1, 2, 3)]
    assert counted == [[False, False, True], [False, True, True], [True, True, True]]


WIDE, NARROW = 0.3, -0.4


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_product_of_gaussians_is_exact_where_the_conditional_is_narrower(weight: float) -> None:
    conditional, null = affine(2.0, NARROW), affine(1.0, WIDE)
    guided = product(weight).combine(conditional, null, 0, 3)
    x = torch.linspace(-3, 3, 7)
    expected = (1 + weight) * log_density(conditional, x) - weight * log_density(null, x)
    difference = log_density(guided, x) - expected
    torch.testing.assert_close(difference, difference[:1].expand(7), atol=1e-4, rtol=0)
    assert guided.shift > 2
    assert guided.log_scale < NARROW


def test_product_of_gaussians_never_widens() -> None:
    guided = product(3.0).combine(affine(2.0, WIDE), affine(1.0, NARROW), 0, 3)
    torch.testing.assert_close(guided, affine(5.0, WIDE))
    narrow = product(3.0).combine(affine(2.0, -9.0), affine(1.0, 9.0), 0, 3)
    torch.testing.assert_close(narrow, affine(2.0, -9.0 - math.log(2)))


def test_product_of_gaussians_is_of_the_deep_block_and_the_full_weight() -> None:
    assert [product(2.0).guides(block, 3) for block in range(3)] == [False, False, True]
    assert [product(2.0).weight(step, 4) for step in range(4)] == [2.0] * 4
    assert [product(2.0, anneal=True).weight(step, 4) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert product(2.0).null_labels(LABELS).tolist() == [NULL_CLASS] * 4


def test_linear_rule_on_the_scale_itself() -> None:
    guide = rule(weight=2.0, anneal=False, space="scale")
    guided = guide.combine(affine(2.0, math.log(0.8)), affine(1.0, math.log(0.6)), 0, 3)
    torch.testing.assert_close(guided, ScaledAffine(torch.tensor([[4.0]]), torch.tensor([[1.2]])))
    shift_alone = rule(weight=2.0, anneal=False, space="scale", what=["shift"])
    torch.testing.assert_close(shift_alone.combine(affine(2.0, -0.5), affine(1.0, 0.2), 0, 3), affine(4.0, -0.5))


NOISE = torch.tensor([[1.5, -0.5, 2.0, 0.5]])
CONDITIONAL = Affine(torch.tensor([[2.0, 2.0, 0.0, 1.0]]), torch.tensor([[0.8, 0.8, 1.0, 0.5]]).log())
NULL = Affine(torch.tensor([[1.0, 1.0, 0.0, 1.0]]), torch.tensor([[1.6, 0.6, 1.25, 0.6]]).log())


@pytest.mark.parametrize(
    ("floor", "moved", "overshot"),
    [
        (None, [2.8, 3.4, 1.0, 1.15], 1),  # scales 0.8 + 2 (0.8 − 1.6) = −0.8, 1.2, 0.5 and 0.3
        (0.0, [4.0, 3.4, 1.0, 1.15], 1),
        (0.001, [4.0012, 3.4, 1.0, 1.15], 1),  # of 0.8
        (0.55, [4.66, 3.4, 1.1, 1.15], 2),  # of 0.8 and of 1
    ],
)
def test_a_floor_matters_where_the_null_branch_is_much_wider(floor: Any, moved: list[float], overshot: int) -> None:
    """By hand: u = z s + 4 for the first two, whose shift 2 + 2 (2 − 1) is 4; the others have the shift of both."""
    guide = rule(weight=2.0, anneal=False, space="scale", floor=floor)
    assert guide.take_counts() == {}
    guided = guide.combine(CONDITIONAL, NULL, 0, 3)
    torch.testing.assert_close(guided.denormalise(NOISE), torch.tensor([moved]), atol=1e-6, rtol=0)
    guide.combine(CONDITIONAL, CONDITIONAL, 1, 3)
    assert guide.take_counts() == {"guided": 8, "overshot": overshot}
    assert guide.take_counts() == {}
    for other in (rule(weight=2.0), product(2.0)):
        other.combine(CONDITIONAL, NULL, 0, 3)
        assert other.take_counts() == {}


def test_a_floor_is_of_scales() -> None:
    assert not list(all_problems(LinearGuidance(weight=1.0, space="scale", floor=0.001)))
    for fields in ({}, {"space": "scale", "what": ["shift"]}):
        (problem,) = all_problems(LinearGuidance(weight=1.0, floor=0.001, **fields))
        assert problem.path == ("floor",)


def interval(fraction: float, meaning: Any) -> dict[str, GuidanceInterval]:
    return {"interval": GuidanceInterval(fraction=fraction, meaning=meaning)}


@pytest.mark.parametrize(
    ("meaning", "weights", "blocks"),
    [
        ("skip_first", [0, 1, 1.5, 2], "1111"),
        ("skip_last", [0.5, 1, 1.5, 0], "1111"),
        ("skip_first_blocks", [0.5, 1, 1.5, 2], "1110"),
        ("skip_last_blocks", [0.5, 1, 1.5, 2], "0111"),
    ],
)
def test_meanings_of_an_interval(meaning: str, weights: list[float], blocks: str) -> None:
    guide = rule(weight=2.0, **interval(0.25, meaning))
    assert [guide.weight(step, 4) for step in range(4)] == weights
    assert "".join(str(int(guide.guides(block, 4))) for block in range(4)) == blocks


def test_an_interval_is_of_predictions_by_default() -> None:
    assert GuidanceInterval(fraction=0.25).meaning == "skip_first"
    guide = rule(weight=1.0, anneal=False, interval=GuidanceInterval(fraction=0.25))
    assert [guide.weight(step, 127) for step in (0, 31, 32, 126)] == [0, 0, 1, 1]  # MIMFlow: 128 tokens, one given
    left_alone = guide.combine(affine(2.0, -0.5), affine(1.0, -0.2), 31, 127)
    torch.testing.assert_close(left_alone, affine(2.0, -0.5))


def test_blocks_of_an_interval_contradict_the_deep_one() -> None:
    spec = GaussianProductGuidance(weight=1.0, **interval(0.5, "skip_last_blocks"))
    (problem,) = all_problems(spec)
    assert problem.path == ("interval", "meaning")
    assert not list(all_problems(spec.model_copy(update={"blocks": "all"})))
    assert not list(all_problems(spec.model_copy(update={"blocks": 2})))
    assert list(all_problems(spec.model_copy(update={"blocks": 1})))


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
            conditional = predicted(block, u, labels)
            unconditional = predicted(block, u, null, guidance.temperature)
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
@pytest.mark.slow
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


@pytest.mark.parametrize("spec", PRIOR_EXAMPLES["starflow"], ids=label_of)
@pytest.mark.parametrize(
    "guidance",
    [
        LinearGuidance(weight=1.3, temperature=0.5, **interval(0.4, "skip_first")),
        LinearGuidance(weight=1.3, temperature=0.5, **interval(0.4, "skip_first_blocks")),
        GaussianProductGuidance(weight=2.0),
    ],
    ids=["positions", "blocks", "product"],
)
@torch.no_grad()
@pytest.mark.slow
def test_guided_steps_equal_parallel_predictions(spec: Any, guidance: AnyGuidance) -> None:
    prior, z, guide = tiny_prior(spec), 0.5 * tiny_latents(4), guidance_rule(guidance)
    sampled = prior.inverse(z, LABELS, guide)
    torch.testing.assert_close(sampled, step_by_step(prior, z, guide), atol=1e-9, rtol=1e-9)
    if spec.takes_classes:
        assert (sampled - prior.inverse(z, LABELS)).abs().max() > 1e-4


def step_by_step(prior: AutoregressivePrior, z: Tensor, guide: Any) -> Tensor:
    """Token by token with a whole parallel pass for each branch and token; the rule itself is tested above."""
    for index in range(len(prior.blocks) - 1, -1, -1):
        block = prior.blocks[index]
        z = z.flip(1) if block.reverse else z
        first = 1 if block.start is None else 0
        u, steps = z.clone(), z.shape[1] - first
        for step in range(steps):
            token = step + first
            conditional = predicted(block, u, LABELS)
            null = predicted(block, u, guide.null_labels(LABELS), guide.temperature)
            affine = Affine(conditional.shift[:, token], conditional.log_scale[:, token])
            if guide.guides(index, len(prior.blocks)):
                other = Affine(null.shift[:, token], null.log_scale[:, token])
                affine = guide.combine(affine, other, step, steps)
            u[:, token] = affine.denormalise(z[:, token])
        z = u.flip(1) if block.reverse else u
    return z
