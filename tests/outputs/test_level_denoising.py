"""Denoising down the noise levels: its closed form on Gaussian data, and that likelihoods know nothing of it."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest
import torch
from parts import CLASSES, ITARFLOW, LATENT, GaussianUnderNoise, image_draws, tiny_latents, tiny_prior
from torch import Tensor

from mimflow.nn.affine import Affine
from mimflow.nn.prepared import Map, prepared_linear
from mimflow.outputs.inverse.denoise import denoise, score_denoise
from mimflow.outputs.inverse.output import InverseSampler
from mimflow.outputs.inverse.spec import InverseSpec, LevelDenoising
from mimflow.priors.base import NULL_CLASS, FlowPrior
from mimflow.priors.guidance.rules import Guidance
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.itarflow.model import Itarflow
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.pixel.model import PixelTokenizer
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

pytestmark = pytest.mark.slow

S = 0.5
LABELS = torch.tensor([0, 2, NULL_CLASS, 1, 0])


def down(prior: FlowPrior, x: Tensor, labels: Tensor | None = None, seed: int = 0, **fields: Any) -> Tensor:
    labels = torch.zeros(len(x), dtype=torch.int64) if labels is None else labels
    spec = LevelDenoising(**{"t1": 0.8, "t0": 0.2, **fields})
    return denoise(spec, prior, x, labels, image_draws(len(x), seed))


def shrinking(t: float) -> float:
    """E[x0 | x] = x s² / (s² + t²)."""
    return S**2 / (S**2 + t**2)


# -- the levels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t1", "steps"), [(0.3, 30), (0.5, 50), (0.7, 70), (0.29, 29), (0.305, 30)])
def test_levels_are_a_hundredth_apart_unless_told(t1: float, steps: int) -> None:
    grid = LevelDenoising(t1=t1).grid
    torch.testing.assert_close(torch.tensor(grid[:-1]), torch.linspace(t1, 0.01, steps))
    assert grid[-1] == 0


def test_few_levels() -> None:
    assert LevelDenoising(t1=0.8, t0=0.2, steps=3).grid == pytest.approx([0.8, 0.5, 0.2, 0])
    assert LevelDenoising(t1=0.8, steps=1).grid == [0.8, 0]
    assert LevelDenoising(t1=0.8, steps=0).grid == [0.8]


def test_the_prior_is_asked_at_each_level_once() -> None:
    prior = GaussianUnderNoise(S)
    down(prior, tiny_latents(5), steps=3)
    assert prior.asked == pytest.approx([0.8, 0.5, 0.2])


def test_no_step_leaves_the_noise_and_one_is_score_denoising() -> None:
    prior, x = tiny_prior(ITARFLOW), tiny_latents(5)
    assert down(prior, x, LABELS, steps=0) is x
    torch.testing.assert_close(down(prior, x, LABELS, steps=1), score_denoise(prior.at(0.8), x, LABELS, 0.8))


# -- closed forms ----------------------------------------------------------------------------------------------------


def test_each_step_of_the_ode_is_a_known_affine_map() -> None:
    x = tiny_latents(5)
    factor = 1.0
    for t, following in ((0.8, 0.5), (0.5, 0.2), (0.2, 0.0)):
        factor *= shrinking(t) + following / t * (1 - shrinking(t))
    torch.testing.assert_close(down(GaussianUnderNoise(S), x, steps=3), factor * x)


def test_many_steps_of_the_ode_carry_the_marginal_to_the_data() -> None:
    """The exact flow of dx/dt = (x − E[x0 | x]) / t takes N(0, s² + t1²) to N(0, s²): x s / √(s² + t1²)."""
    x = tiny_latents(5)
    exact = x * S / math.sqrt(S**2 + 0.8**2)
    errors = [
        (down(GaussianUnderNoise(S), x, steps=steps, t0=0.8 / steps) - exact).abs().max().item() for steps in (50, 100)
    ]
    assert errors[1] < 0.015
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)  # Euler's order


def test_a_step_of_the_sde_has_a_known_mean_and_variance() -> None:
    """Of x at 0.8, then at 0.2, then at 0: x' = x̂ + t' (√α v + √(1 − α) ε) with α = (t' / t)²."""
    x = torch.tensor([0.7, -1.3], dtype=torch.float64).expand(200_000, 1, 2)
    ended = down(GaussianUnderNoise(S), x, steps=2, method="sde")[:, 0]
    c, t, following = shrinking(0.8), 0.8, 0.2
    mean = (c + (following / t) ** 2 * (1 - c)) * x[0, 0]
    std = following * math.sqrt(1 - (following / t) ** 2)
    last = shrinking(0.2)
    torch.testing.assert_close(ended.mean(0), last * mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(ended.std(0), torch.full((2,), last * std, dtype=torch.float64), atol=2e-3, rtol=0)
    assert abs(torch.corrcoef(ended.T)[0, 1]) < 0.01


def test_estimates_are_clipped_and_what_is_left_of_the_noise_is_not() -> None:
    x = torch.linspace(-6, 6, 18, dtype=torch.float64).view(1, 6, 3)
    clipped = (shrinking(0.8) * x).clamp(-1, 1)
    torch.testing.assert_close(down(GaussianUnderNoise(S), x, steps=1, clip=True), clipped)
    between = clipped + 0.2 / 0.8 * (x - clipped)
    assert between.abs().max() > 1
    torch.testing.assert_close(
        down(GaussianUnderNoise(S), x, steps=2, clip=True), (shrinking(0.2) * between).clamp(-1, 1)
    )


def test_noise_comes_from_the_generator_alone_and_the_ode_draws_none() -> None:
    prior, x = tiny_prior(ITARFLOW), tiny_latents(5)
    torch.manual_seed(1)
    first = down(prior, x, LABELS, steps=3, method="sde")
    torch.manual_seed(2)
    assert torch.equal(first, down(prior, x, LABELS, steps=3, method="sde"))
    assert not torch.equal(first, down(prior, x, LABELS, steps=3, method="sde", seed=1))
    assert torch.equal(down(prior, x, LABELS, steps=3), down(prior, x, LABELS, steps=3, seed=1))


# -- the output -----------------------------------------------------------------------------------------------------

IMAGE = ImageShape(1, 8)
PIXEL = PixelTokenizerSpec(patch_size=4)
TOKENIZER = PixelTokenizer(PIXEL, IMAGE)


def flow() -> Itarflow:
    return tiny_prior(ITARFLOW, PIXEL.latent_shape(IMAGE)).float()


def sample(prior: Itarflow, **fields: Any) -> Tensor:
    return InverseSampler(InverseSpec(**fields)).sample(TOKENIZER, prior, LABELS, image_draws(len(LABELS)))


def test_the_flow_is_inverted_at_the_first_level() -> None:
    prior = flow()
    images = sample(prior, denoise=LevelDenoising(t1=0.3, steps=0))
    noise = prior.noise(image_draws(5))
    torch.testing.assert_close(images, TOKENIZER.decode(prior.at(0.3).inverse(noise, LABELS)).clamp(-1, 1))
    down_to_zero = sample(prior, denoise=LevelDenoising(t1=0.3, steps=4))
    assert not torch.allclose(images, down_to_zero)
    assert not down_to_zero.requires_grad


# -- likelihoods -----------------------------------------------------------------------------------------------------


def digest(prior: Itarflow) -> str:
    tensors = [*prior.named_parameters(), *prior.named_buffers()]
    found = hashlib.sha256()
    for name, tensor in tensors:
        found.update(name.encode() + tensor.detach().numpy().tobytes())
    return found.hexdigest()


@torch.no_grad()
def held_out(prior: Itarflow) -> list[Tensor]:
    """Log-densities of held-out latents under one draw of noise, at several levels."""
    clean, unit = tiny_latents(5, prior.latent, seed=7).float(), tiny_latents(5, prior.latent, seed=8).float()
    return [prior.at(t).log_prob(clean + t * unit, LABELS) for t in (0.01, 0.1, 0.3)]


@pytest.mark.parametrize("method", ["ode", "sde"])
@pytest.mark.parametrize("steps", [0, 4])
def test_held_out_likelihoods_are_the_same_bits_before_and_after_sampling(method: Any, steps: int) -> None:
    prior = flow().train()
    prior.blocks[0].proj_in.weight.requires_grad_(False)
    before, tensors = held_out(prior), digest(prior)
    modes = [module.training for module in prior.modules()]
    needs = [parameter.requires_grad for parameter in prior.parameters()]
    sample(
        prior,
        guidance=LinearGuidance(weight=2.0, space="scale"),
        denoise=LevelDenoising(t1=0.3, steps=steps, method=method, clip=True),
    )
    assert digest(prior) == tensors
    assert all(torch.equal(first, second) for first, second in zip(before, held_out(prior), strict=True))
    assert [module.training for module in prior.modules()] == modes
    assert [parameter.requires_grad for parameter in prior.parameters()] == needs
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_levels_are_walked_down_in_fp32_whatever_the_precision_of_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, heard, prepared = flow(), [], []

    def noted(weight: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype) -> Map:
        prepared.append(dtype)
        return prepared_linear(weight, bias, rows, dtype)

    # Sampling's steps have their maps prepared; a likelihood calls the modules.
    monkeypatch.setattr("mimflow.nn.stepper.prepared_linear", noted)
    prior.blocks[0].proj_in.register_forward_hook(lambda module, inputs, output: heard.append(output.dtype))
    sample(prior, precision="bf16", denoise=LevelDenoising(t1=0.3, steps=2))
    assert set(prepared) == {torch.bfloat16} and set(heard) == {torch.float32}


class Listening(Guidance):
    """Leaves the conditional map as it is, and adds up the log-scales of the steps that sampling takes."""

    def __init__(self, count: int):
        super().__init__(LinearGuidance(weight=1.0))
        self.total = torch.zeros(count, dtype=torch.float64)

    def combine(self, conditional: Affine, null: Affine, step: int, steps: int) -> Affine:
        self.total += conditional.log_scale.sum(1)
        return conditional

    def rule(self, conditional: Affine, null: Affine, weight: float) -> Affine:
        raise AssertionError("an unguided sample was guided")


@pytest.mark.parametrize("level", [0.01, 0.1, 0.7])
@torch.no_grad()
def test_likelihoods_of_own_samples_agree_on_the_path_that_sampled_them(level: float) -> None:
    """log p(x) = log N(z; 0, I) − Σ a, with the a of every cached step, against the parallel pass over x."""
    prior = tiny_prior(ITARFLOW)
    z = prior.noise(image_draws(5)).double()
    listening = Listening(5)
    x = prior.at(level).inverse(z, LABELS, listening)
    torch.testing.assert_close(x, prior.at(level).inverse(z, LABELS), atol=1e-9, rtol=0)
    sampled = torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1) - listening.total
    assert listening.total.abs().min() > 0.01
    torch.testing.assert_close(prior.at(level).log_prob(x, LABELS), sampled, atol=1e-8, rtol=0)


def test_log_density_at_the_start_is_the_standard_normals_with_its_constant() -> None:
    x = tiny_latents(5)
    per_dimension = Itarflow(ITARFLOW, LATENT, CLASSES).double().at(0.3).log_prob(x, LABELS) / LATENT.dimensions
    expected = -0.5 * x.square().flatten(1).mean(1) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(per_dimension, expected)
