"""Training over noise levels: their laws and weights, what validation reports, and what specs contradict."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from parts import GaussianUnderNoise
from pydantic import TypeAdapter
from training_parts import JOINT, MASKED_AE, NLL, SHAPES, TARFLOW, perturbed_modules, phase

from mimflow.nn.modes import evaluating
from mimflow.objectives.base import Batch, Objective
from mimflow.objectives.levels import draw_levels, level_weight, reported_levels
from mimflow.objectives.nll import NegativeLogLikelihood
from mimflow.objectives.spec import NllSpec
from mimflow.outputs.registry import OUTPUTS
from mimflow.priors.base import NULL_CLASS
from mimflow.project.run import RunSpec
from mimflow.spec.base import all_problems
from mimflow.spec.noise import NoiseLevels

T0, T1 = 0.1, 0.7
COUNT = 100_000
CPU = torch.device("cpu")
ITARFLOW = TARFLOW | {"prior": TARFLOW["prior"] | {"kind": "itarflow"}}
LEVELS = {"kind": "levels", "t0": T0, "t1": T1}
OVER_LEVELS = NLL | {"noise": LEVELS, "label_drop": 0.0}


def noise(**fields: Any) -> NoiseLevels:
    return NoiseLevels(t0=T0, t1=T1, **fields)


# -- laws and weights ------------------------------------------------------------------------------------------------


def drawn(law: Any) -> torch.Tensor:
    torch.manual_seed(0)
    return draw_levels(noise(law=law), COUNT, CPU)


@pytest.mark.parametrize(
    ("law", "cumulative"),
    [
        ("uniform", lambda t: (t - T0) / (T1 - T0)),
        ("linear", lambda t: (t.square() - T0**2) / (T1**2 - T0**2)),
        ("edm", lambda t: torch.distributions.Normal(-1.2, 1.0).cdf(t.log())),
    ],
)
def test_levels_have_the_distribution_of_their_law(law: str, cumulative: Any) -> None:
    levels = drawn(law)
    assert levels.equal(drawn(law))
    # Kolmogorov and Smirnov: the greatest gap of 100,000 draws is above 1.95 / √N once in a thousand times.
    gap = (cumulative(levels.sort().values) - torch.linspace(0, 1, COUNT)).abs().max()
    assert gap < 1.95 / COUNT**0.5


def test_ranges_and_moments_of_the_laws() -> None:
    for law in ("uniform", "linear"):
        levels = drawn(law)
        assert T0 <= levels.min() < T0 + 0.01 and T1 - 0.01 < levels.max() <= T1
    assert drawn("uniform").mean().item() == pytest.approx((T0 + T1) / 2, abs=2e-3)
    assert drawn("linear").square().mean().item() == pytest.approx((T0**2 + T1**2) / 2, abs=2e-3)
    assert drawn("edm").log().mean().item() == pytest.approx(-1.2, abs=0.01)
    assert drawn("edm").log().std().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("ones", [1.0, 1.0]),
        ("t", [0.2, 0.5]),
        ("t_norm", [0.2 / 0.8, 0.5 / 0.8]),
        ("sqr_t", [0.04, 0.25]),
        ("sqr_t_norm", [0.04 / 0.5, 0.25 / 0.5]),
    ],
)
def test_weights_of_levels(weight: Any, expected: list[float]) -> None:
    torch.testing.assert_close(level_weight(noise(weight=weight), torch.tensor([0.2, 0.5])), torch.tensor(expected))


def test_the_defaults_are_the_codes() -> None:
    spec = NoiseLevels(t1=0.3)
    assert (spec.t0, spec.law, spec.weight) == (0.01, "uniform", "ones")
    assert reported_levels(noise()) == pytest.approx([0.1, 0.25, 0.4, 0.55, 0.7])


# -- the loss --------------------------------------------------------------------------------------------------------


def gaussian(std: float, **fields: Any) -> tuple[Objective, GaussianUnderNoise]:
    modules = perturbed_modules(ITARFLOW)
    modules.prior = prior = GaussianUnderNoise(std)
    spec = NllSpec.model_validate(OVER_LEVELS | {"noise": LEVELS | fields})
    return NegativeLogLikelihood(spec, modules, SHAPES), prior


def batch(count: int, std: float) -> Batch:
    torch.manual_seed(1)
    return Batch(std * torch.randn(count, 1, 8, 8), torch.zeros(count, dtype=torch.int64), torch.arange(count))


@pytest.mark.parametrize("weight", ["ones", "t", "sqr_t_norm"])
def test_loss_is_the_weighted_mean_and_its_figures_are_not_weighted(weight: str) -> None:
    """Of Gaussian data the negative log-likelihood at t is ½ + ½ log(s² + t²) per dimension, in expectation."""
    objective, prior = gaussian(0.5, weight=weight)
    loss, figures = objective("system", batch(2000, 0.5), {})
    (levels,) = prior.asked
    assert levels.shape == (2000,)
    entropy = 0.5 + 0.5 * (0.25 + levels.square()).log()
    expected = (level_weight(noise(weight=weight), levels) * entropy).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=0.01)
    assert figures["nll"].item() == pytest.approx(entropy.mean().item(), abs=0.01)
    assert figures["z2"].item() == pytest.approx(1, abs=0.02)
    if weight == "ones":
        torch.testing.assert_close(loss, figures["nll"])


def test_noise_has_the_level_that_the_prior_is_told() -> None:
    objective, _ = gaussian(0.0)
    _, figures = objective("system", batch(500, 0.0), {})
    assert figures["z2"].item() == pytest.approx(1, abs=0.01)  # images of zeros: z is the noise over its level


def test_validation_is_at_fixed_levels_with_the_constant_and_without_weight() -> None:
    objective, prior = gaussian(0.5, weight="t")
    with evaluating(objective):
        loss, figures = objective("system", batch(2000, 0.5), {})
    levels = reported_levels(noise())
    assert [level.unique().item() for level in prior.asked] == pytest.approx(levels)
    names = ["nll_at_0.1", "nll_at_0.25", "nll_at_0.4", "nll_at_0.55", "nll_at_0.7"]
    assert [name for name in figures if name.startswith("nll_at")] == names
    entropies = [0.5 * math.log(2 * math.pi * math.e * (0.25 + level**2)) for level in levels]
    assert [figures[name].item() for name in names] == pytest.approx(entropies, abs=0.01)
    dropped = 0.5 * math.log(2 * math.pi)
    assert figures["nll"].item() == pytest.approx(sum(entropies) / 5 - dropped, abs=0.01)
    weighted = sum(level * (entropy - dropped) for level, entropy in zip(levels, entropies, strict=True)) / 5
    assert loss.item() == pytest.approx(weighted, abs=0.01)


def test_nll_at_a_level_is_the_log_density_there() -> None:
    modules = perturbed_modules(ITARFLOW)
    objective = NegativeLogLikelihood(NllSpec.model_validate(OVER_LEVELS), modules, SHAPES)
    images, labels = torch.rand(6, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, NULL_CLASS])
    with evaluating(objective), torch.no_grad():
        torch.manual_seed(3)
        _, figures = objective("system", Batch(images, labels, torch.arange(6)), {})
        torch.manual_seed(3)
        latents = modules.module("tokenizer").encode(images)
        noisy = latents + 0.4 * torch.randn_like(latents)
        per_dimension = modules.module("prior").at(0.4).log_prob(noisy, labels) / 64
    torch.testing.assert_close(figures["nll_at_0.4"], -per_dimension.mean())


# -- specs -----------------------------------------------------------------------------------------------------------


def said(objective: dict[str, Any], output: dict[str, Any], system: dict[str, Any]) -> list[str]:
    run = {"dataset": "tiny", **system, "phases": {"main": phase(objective=objective)}, "outputs": {"s": output}}
    return [
        f"{'.'.join(map(str, problem.path))}: {problem.message}"
        for problem in all_problems(RunSpec.model_validate(run))
    ]


DOWN = {"kind": "inverse", "denoise": {"kind": "levels", "t0": T0, "t1": T1}}
SCORE = {"kind": "inverse", "denoise": {"kind": "score", "std": 0.3}}


def test_priors_of_noise_levels_are_trained_and_sampled_at_them() -> None:
    assert said(OVER_LEVELS, DOWN, ITARFLOW) == []
    assert said(NLL, SCORE, TARFLOW) == []
    assert said(NLL, DOWN, ITARFLOW) == [
        "phases.main.objective.noise: prior 'itarflow' is trained at noise levels, and none is named"
    ]
    assert said(OVER_LEVELS, SCORE, TARFLOW) == ["phases.main.objective.noise: prior 'tarflow' takes no noise levels"]
    assert said(NLL, DOWN, TARFLOW) == ["outputs.s.denoise.kind: prior 'tarflow' has no noise levels to go down"]
    for output in (SCORE, {"kind": "inverse"}):
        assert said(OVER_LEVELS, output, ITARFLOW) == [
            "outputs.s.denoise: prior 'itarflow' is sampled at a noise level, and none is given"
        ]


def test_other_objectives_and_outputs_name_no_level() -> None:
    system = MASKED_AE | {"prior": ITARFLOW["prior"]}
    assert said(JOINT, DOWN, system) == [
        "phases.main.objective.noise: prior 'itarflow' is trained at noise levels, and none is named"
    ]
    inside = {"kind": "representation", "where": {"kind": "prior", "tap": {"block": 0, "layer": 0}}}
    assert said(OVER_LEVELS, inside, ITARFLOW) == [
        "outputs.s.where: prior 'itarflow' sees latents at a time or noise level, and a representation has none"
    ]


@pytest.mark.parametrize(
    ("denoise", "message"),
    [
        ({"t1": 0.8}, "t1: 0.8 is above the highest level of training, 0.7"),
        ({"t0": 0.05}, "t0: 0.05 is below the lowest level of training, 0.1"),
        ({"t0": 0.7}, "t0: 0.7 is not below t1, 0.7"),
    ],
)
def test_sampling_stays_within_the_levels_of_training(denoise: dict[str, Any], message: str) -> None:
    output = DOWN | {"denoise": DOWN["denoise"] | denoise}
    assert said(OVER_LEVELS, output, ITARFLOW) == [f"outputs.s.denoise.{message}"]


def test_levels_within_those_of_training_and_of_a_law_without_ends() -> None:
    within = DOWN | {"denoise": DOWN["denoise"] | {"t0": 0.2, "t1": 0.5}}
    assert said(OVER_LEVELS, within, ITARFLOW) == []
    wider = DOWN | {"denoise": DOWN["denoise"] | {"t0": 0.05, "t1": 0.8}}
    assert said(OVER_LEVELS | {"noise": LEVELS | {"law": "edm"}}, wider, ITARFLOW) == []


def test_levels_are_in_order() -> None:
    messages = said(OVER_LEVELS | {"noise": LEVELS | {"t0": 0.7}}, DOWN, ITARFLOW)
    assert "phases.main.objective.noise.t0: 0.7 is not below t1, 0.7" in messages


def test_only_pixels_are_clipped_and_only_blocks_that_exist_are_guided() -> None:
    clipped = DOWN | {"denoise": DOWN["denoise"] | {"clip": True}}
    assert said(OVER_LEVELS, clipped, ITARFLOW) == []
    learned = said(OVER_LEVELS, clipped, MASKED_AE | {"prior": ITARFLOW["prior"]})
    assert "outputs.s.denoise.clip: the latents are no pixels, whose range is known" in learned
    guided = DOWN | {"guidance": {"kind": "linear", "weight": 1.0, "blocks": 2}}
    assert said(OVER_LEVELS, guided, ITARFLOW) == []
    guided = DOWN | {"guidance": {"kind": "linear", "weight": 1.0, "blocks": 3}}
    assert said(OVER_LEVELS, guided, ITARFLOW) == ["outputs.s.guidance.blocks: the prior has 2 blocks"]
    assert TypeAdapter(OUTPUTS.spec("inverse")).validate_python(guided).guidance.blocks == 3
