"""Noise on latents: moments of each kind, laws of t, mistakes in specs."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter

from mimflow.nn.noise import add_noise
from mimflow.spec.base import all_problems
from mimflow.spec.noise import AdditiveNoise, LatentNoise, LinearNoise, LogitNormalLaw, NoNoise, SlerpNoise, UniformLaw

SAMPLES, DIMENSIONS = 400, 500


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def noisy(spec: LatentNoise, value: float = 0.0) -> torch.Tensor:
    """Latents that all have one value, with noise: (400, 25, 20) in float64."""
    return add_noise(torch.full((SAMPLES, 25, 20), value, dtype=torch.float64), spec)


def fixed(t: float) -> UniformLaw:
    return UniformLaw(low=t, high=t)


def test_none_returns_the_latents_themselves() -> None:
    latents = torch.randn(2, 3, 4)
    assert add_noise(latents, NoNoise()) is latents


@pytest.mark.parametrize(
    ("spec", "mean", "std"),
    [
        (AdditiveNoise(std=0.3), 2.0, 0.3),
        (LinearNoise(t=fixed(0.8)), 1.6, 0.2),
        (SlerpNoise(t=fixed(0.8)), 1.6, 0.6),
        (LinearNoise(t=fixed(1.0)), 2.0, 0.0),
        (SlerpNoise(t=fixed(0.0)), 0.0, 1.0),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_moments_of_each_kind(spec: LatentNoise, mean: float, std: float) -> None:
    result = noisy(spec, 2.0)
    assert float(result.mean()) == pytest.approx(mean, abs=0.01)
    assert float(result.std()) == pytest.approx(std, abs=0.01)


def test_slerp_keeps_the_norm_of_unit_latents_at_every_t() -> None:
    latents = torch.randn(SAMPLES, 25, 20, dtype=torch.float64)
    latents /= latents.flatten(1).norm(dim=1)[:, None, None] / math.sqrt(DIMENSIONS)
    norms = add_noise(latents, SlerpNoise()).flatten(1).square().mean(1)
    assert float(norms.mean()) == pytest.approx(1, abs=0.01)
    # Of one sample: the mean of 500 squares spreads by √(2/500) at most.
    assert float((norms - 1).abs().max()) < 6 * math.sqrt(2 / DIMENSIONS)
    linear = add_noise(latents, LinearNoise()).flatten(1).square().mean(1)
    assert float(linear.mean()) == pytest.approx(2 / 3, abs=0.03)  # E[t² + (1 − t)²]


def draws_of_t(law: UniformLaw | LogitNormalLaw) -> torch.Tensor:
    """t of each sample, from the means of linearly mixed latents so large that the noise vanishes."""
    return noisy(LinearNoise(t=law), 1e6).flatten(1) / 1e6


def test_t_is_one_draw_a_sample() -> None:
    each = draws_of_t(UniformLaw())
    assert float(each.std(1).max()) < 1e-5
    assert float(each.mean(1).std()) == pytest.approx(math.sqrt(1 / 12), abs=0.02)


def test_laws_of_t() -> None:
    uniform = draws_of_t(UniformLaw(low=0.2, high=0.6)).mean(1)
    assert float(uniform.min()) > 0.199
    assert float(uniform.max()) < 0.601
    assert float(uniform.mean()) == pytest.approx(0.4, abs=0.02)
    logit = torch.logit(draws_of_t(LogitNormalLaw(mean=0.5, std=0.7)).mean(1))
    assert float(logit.mean()) == pytest.approx(0.5, abs=0.12)
    assert float(logit.std()) == pytest.approx(0.7, abs=0.08)


def test_uniform_in_the_unit_interval_is_what_is_not_said() -> None:
    assert LinearNoise().t == SlerpNoise().t == UniformLaw(low=0.0, high=1.0)


def test_draws_follow_torchs_seed_and_leave_gradients() -> None:
    latents = torch.randn(3, 4, 5, requires_grad=True)
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(add_noise(latents, AdditiveNoise(std=1.0)))
    assert torch.equal(*results)
    results[0].sum().backward()
    assert torch.equal(latents.grad, torch.ones(3, 4, 5))


def test_a_law_with_crossed_ends_is_a_problem() -> None:
    spec = TypeAdapter(LatentNoise).validate_python(
        {"kind": "slerp", "t": {"kind": "uniform", "low": 0.5, "high": 0.2}}
    )
    assert [(problem.path, problem.message) for problem in all_problems(spec)] == [
        (("t", "low"), "0.5 is above high, 0.2")
    ]
