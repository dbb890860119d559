"""Velocity models against Gaussian data, whose velocity, flow and marginals have closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from parts import image_draws
from torch import Tensor
from training_parts import KL_VAE

from mimflow.errors import NotFiniteError
from mimflow.nn.path import path_coefficients
from mimflow.objectives.spec import NllSpec, VelocitySpec
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.outputs.registry import OUTPUTS
from mimflow.outputs.velocity.output import integrate, velocity_field
from mimflow.outputs.velocity.spec import Diffusion, LastStep, OdeSpec, SdeSpec, VelocityGuidance
from mimflow.priors.base import NULL_CLASS, Tap
from mimflow.priors.spec import VelocityPriorSpec
from mimflow.priors.velocity import VelocityOutput, VelocityPrior
from mimflow.spec.base import Problem, all_problems
from mimflow.spec.shapes import ImageShape, LatentShape
from mimflow.system.spec import System
from mimflow.tokenizers.pixel.model import PixelTokenizer
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

pytestmark = pytest.mark.slow

IMAGE = ImageShape(1, 2)
PIXEL = PixelTokenizerSpec(patch_size=1)
LATENT = LatentShape(4, 1, (2, 2))
MEANS = torch.tensor([0.3, -0.5, 0.1], dtype=torch.float64)
"""Of two classes and of the null class."""
STD = 0.4
PATHS = ("linear", "gvp")


class Gaussian(VelocityPrior):
    """The exact velocity of N(m, s²) with the mean of the label's class."""

    def __init__(self, path: str = "linear", std: float = STD, **fields: Any):
        super().__init__(VelocityPriorSpec(kind="gaussian", path=path, **fields), LATENT)  # type: ignore[arg-type]
        self.std = std
        self.times: list[float] = []
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, tap: Tap | None = None) -> VelocityOutput:
        self.times.append(t[0].item())
        self.seen.append(x)
        t, mean = t[:, None, None], MEANS.to(x)[labels][:, None, None]
        at = self.coefficients(t)
        variance = (at.alpha * self.std) ** 2 + at.sigma**2
        away = (x - at.alpha * mean) / variance
        data, noise = mean + at.alpha * self.std**2 * away, at.sigma * away
        return VelocityOutput(at.velocity(data, noise))


def draws(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, LATENT.tokens, LATENT.channels, generator=generator, dtype=torch.float64)


def labels_of(count: int, label: int = 0) -> Tensor:
    return torch.full((count,), label)


# -- paths and the loss ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_path_goes_from_noise_to_data_at_the_rate_it_says(path: Any) -> None:
    data, noise = draws(1), draws(1, seed=1)
    ends = path_coefficients(path, torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(ends.alpha.tolist(), [0.0, 1.0])
    torch.testing.assert_close(ends.sigma.tolist(), [1.0, 0.0])
    t = torch.tensor(0.3, dtype=torch.float64)
    before, here, after = (path_coefficients(path, t + step) for step in (-1e-5, 0, 1e-5))
    slope = (after.mix(data, noise) - before.mix(data, noise)) / 2e-5
    torch.testing.assert_close(here.velocity(data, noise), slope, atol=1e-8, rtol=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("t", [0.0, 0.4, 0.95])
def test_the_score_follows_from_the_velocity(path: Any, t: float) -> None:
    prior, x = Gaussian(path), draws(5)
    at = prior.coefficients(torch.tensor(t, dtype=torch.float64))
    velocity = prior(x, torch.full((5,), t, dtype=torch.float64), labels_of(5)).velocity
    exact = -(x - at.alpha * MEANS[0]) / ((at.alpha * STD) ** 2 + at.sigma**2)
    torch.testing.assert_close(at.score(x, velocity), exact)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("law", [{"kind": "uniform"}, {"kind": "logit_normal"}])
def test_the_exact_velocity_of_a_point_has_no_loss(path: str, law: dict[str, str]) -> None:
    """Were the target's sign, or data and noise, the other way round, no velocity that is asked for here would fit."""
    prior = Gaussian(path, std=0.0, t=law)
    latents = MEANS[torch.tensor([0, 1, 0])][:, None, None].expand(3, 4, 1)
    loss, figures, hidden = prior.training_loss(latents, torch.tensor([0, 1, 0]))
    assert loss.item() == pytest.approx(0, abs=1e-20)
    assert figures.keys() == {"velocity"} and hidden is None


def test_the_loss_of_the_exact_velocity_is_the_variance_that_is_left() -> None:
    """With N(m, s²) on the linear path, x₁ − x₀ given x_t has variance s² / (t² s² + (1 − t)²)."""
    law = {"kind": "uniform", "low": 0.6, "high": 0.6}
    torch.manual_seed(1)
    loss = Gaussian(t=law).training_loss(MEANS[0] + STD * draws(20_000), labels_of(20_000)).loss
    assert loss.item() == pytest.approx(STD**2 / (0.36 * STD**2 + 0.16), rel=0.01)


def test_gradients_reach_the_latents_through_target_and_input_unless_held_back() -> None:
    gradients = {}
    for target in (True, False):
        for read in (True, False):
            latents = draws(6, seed=3).requires_grad_()
            prior = Gaussian(detach_target=target, detach_input=read)
            torch.manual_seed(0)
            loss = prior.training_loss(latents, labels_of(6)).loss
            gradients[target, read] = (
                torch.autograd.grad(loss, latents)[0] if loss.requires_grad else torch.zeros_like(latents)
            )
    assert gradients[True, False].abs().max() > 0.01 and gradients[False, True].abs().max() > 0.01
    assert not gradients[True, True].any()
    torch.testing.assert_close(gradients[False, False], gradients[True, False] + gradients[False, True])


# -- the ODE ---------------------------------------------------------------------------------------------------------


def ode(prior: VelocityPrior, x: Tensor, steps: int, method: str) -> Tensor:
    return integrate(velocity_field(prior, labels_of(len(x)), None), x, OdeSpec(steps=steps, method=method))  # type: ignore[arg-type]


def test_euler_is_the_product_of_its_affine_steps() -> None:
    """On the linear path v = m + (t s² − (1 − t)) / (t² s² + (1 − t)²) (x − t m)."""
    x, steps, mean = draws(3), 7, MEANS[0].item()
    expected = x.clone()
    for step in range(steps):
        t = step / steps
        rate = (t * STD**2 - (1 - t)) / (t**2 * STD**2 + (1 - t) ** 2)
        expected = (1 + rate / steps) * expected + (1 - rate * t) * mean / steps
    torch.testing.assert_close(ode(Gaussian(), x, steps, "euler"), expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("heun2", 2)])
def test_steps_converge_at_their_order_to_the_exact_flow(path: str, method: str, order: int) -> None:
    """The flow of a Gaussian scales and shifts: x₁ = m + s x₀."""
    x = draws(4)
    exact = MEANS[0] + STD * x
    errors = [(ode(Gaussian(path), x, steps, method) - exact).abs().max().item() for steps in (100, 200)]
    assert errors[1] < 0.02
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_heun_asks_for_no_velocity_at_the_end() -> None:
    prior = Gaussian()
    ode(prior, draws(1), 3, "heun")
    assert prior.times == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])


# -- guidance --------------------------------------------------------------------------------------------------------


def test_guidance_goes_away_from_the_null_class() -> None:
    prior, x = Gaussian(), draws(3)
    labels, t = torch.tensor([0, 1, 1]), torch.full((3,), 0.4, dtype=torch.float64)
    conditional, null = prior(x, t, labels).velocity, prior(x, t, labels_of(3, NULL_CLASS)).velocity
    guided = velocity_field(prior, labels, VelocityGuidance(weight=1.5))(x, 0.4)
    torch.testing.assert_close(guided, null + 2.5 * (conditional - null))
    torch.testing.assert_close(velocity_field(prior, labels, VelocityGuidance(weight=0.0))(x, 0.4), conditional)


def test_guidance_keeps_to_its_interval_and_channels() -> None:
    prior, labels, x = Gaussian(), torch.tensor([0, 1]), torch.randn(2, 4, 3, dtype=torch.float64)
    plain, guided = (velocity_field(prior, labels, g) for g in (None, VelocityGuidance(weight=1.0)))
    some = velocity_field(prior, labels, VelocityGuidance(weight=1.0, low=0.2, high=0.6, channels=2))
    for t, within in ((0.1, False), (0.2, True), (0.6, True), (0.7, False)):
        torch.testing.assert_close(some(x, t)[..., :2], (guided if within else plain)(x, t)[..., :2])
        assert torch.equal(some(x, t)[..., 2:], plain(x, t)[..., 2:])


# -- the SDE ---------------------------------------------------------------------------------------------------------


def sde(spec: SdeSpec, prior: VelocityPrior, count: int, tokens: int = 4) -> Tensor:
    prior.noise = lambda draws: draws.normal(tokens, 1).double()  # type: ignore[method-assign]
    return OUTPUTS.build(spec).latents(prior, labels_of(count), image_draws(count))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["sigma", "linear", "constant", "decreasing", "increasing_decreasing", "sbdm"])
@pytest.mark.slow
def test_every_diffusion_keeps_the_marginals(path: str, kind: Any) -> None:
    spec = SdeSpec(steps=200, diffusion=Diffusion(kind=kind), start=0.01 if kind == "sbdm" else 0.0, last=None)
    samples = sde(spec, Gaussian(path), count=250, tokens=64)
    # 16,000 numbers: the standard error of their mean is 0.003, of their spread 0.002.
    assert samples.mean().item() == pytest.approx(MEANS[0].item(), abs=0.012)
    assert samples.std().item() == pytest.approx(STD, abs=0.012)


def test_noise_has_the_variance_of_the_diffusion() -> None:
    """One step from t = 0.5 without a last one, at a size h = 0.5: variance 2 w h around the drift."""
    spec = SdeSpec(steps=1, start=0.5, last=None, diffusion=Diffusion(kind="constant", scale=0.3))
    prior = Gaussian()
    samples = sde(spec, prior, 20_000)
    x = image_draws(20_000).normal(4, 1).double()
    t = torch.full((20_000,), 0.5, dtype=torch.float64)
    velocity = prior(x, t, labels_of(20_000)).velocity
    at = prior.coefficients(t[0])
    rest = samples - x - 0.5 * (velocity + 0.3 * at.score(x, velocity))
    assert rest.mean().item() == pytest.approx(0, abs=0.01)
    assert rest.var().item() == pytest.approx(2 * 0.3 * 0.5, rel=0.02)


@pytest.mark.parametrize("kind", ["mean", "euler", "tweedie"])
def test_last_steps(kind: Any) -> None:
    """From t = 0.75, by the closed forms of score, velocity and posterior mean."""
    prior = Gaussian()
    spec = SdeSpec(steps=2, diffusion=Diffusion(kind="constant", scale=0.5), last=LastStep(kind=kind, size=0.25))
    found = sde(spec, prior, 5)
    x, t, mean = prior.seen[-1], 0.75, MEANS[0]
    assert prior.times == [0, 0.375, 0.75]
    variance = t**2 * STD**2 + (1 - t) ** 2
    score = -(x - t * mean) / variance
    velocity = mean + (t * STD**2 - (1 - t)) / variance * (x - t * mean)
    expected = {
        "mean": x + 0.25 * (velocity + 0.5 * score),
        "euler": x + 0.25 * velocity,
        "tweedie": mean + t * STD**2 / variance * (x - t * mean),
    }
    torch.testing.assert_close(found, expected[kind])


# -- outputs and specs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [OdeSpec(steps=10), SdeSpec(steps=10)], ids=["ode", "sde"])
def test_outputs_decode_clamp_and_follow_the_seed(spec: Any) -> None:
    def sample(seed: int) -> Tensor:
        prior, tokenizer = Gaussian(), PixelTokenizer(PIXEL, IMAGE)
        return OUTPUTS.build(spec).sample(tokenizer, prior, torch.tensor([0, 1, NULL_CLASS]), image_draws(3, seed))

    images = sample(0)
    assert images.shape == (3, 1, 2, 2) and not images.requires_grad
    assert images.abs().max() <= 1
    assert torch.equal(images, sample(0)) and not torch.equal(images, sample(1))


def test_an_adaptive_ode_that_can_not_go_on_says_so() -> None:
    for prior, relative in ((Gaussian(std=math.nan), 1e-3), (Gaussian(), 1e-30)):
        spec = OdeSpec(method="dopri5", absolute_tolerance=1e-30, relative_tolerance=relative)
        with pytest.raises(NotFiniteError, match=r"'dopri5' finds no step that keeps to its tolerances \(larger ones"):
            OUTPUTS.build(spec).sample(PixelTokenizer(PIXEL, IMAGE), prior, labels_of(2), image_draws(2))


def test_an_adaptive_ode_is_guided_to_its_end() -> None:
    """Its last step asks for velocities beyond t = 1, of both branches for each of the two samples."""
    prior = Gaussian()
    guided = velocity_field(prior, labels_of(2), VelocityGuidance(weight=1.0))
    integrate(guided, draws(2), OdeSpec(method="dopri5"))
    assert max(prior.times) > 1 and all(len(x) == 4 for x in prior.seen)


SIT = {"kind": "sit", "width": 8, "layers": 1, "head_width": 4}
FLOW = {"kind": "class_gaussian"}


def system(prior: dict[str, Any] | None) -> System:
    return System.model_validate({"tokenizer": PIXEL, "prior": prior} if prior else {"tokenizer": PIXEL})


@pytest.mark.parametrize("kind", ["ode", "sde"])
def test_what_a_velocity_output_can_not_draw_from(kind: str) -> None:
    spec = OUTPUTS.spec(kind)(steps=3)  # type: ignore[call-arg]
    assert list(spec.system_problems(system(SIT))) == []
    assert list(spec.system_problems(system(FLOW))) == [
        Problem(("kind",), f"'{kind}' integrates a velocity, and prior 'class_gaussian' is a flow", "inverse")
    ]
    (problem,) = spec.system_problems(system(None))
    assert problem.message == f"'{kind}' draws from a prior, and the system has none"


def test_what_is_no_flow_is_neither_inverted_nor_looked_into_nor_given_a_likelihood() -> None:
    (problem,) = InverseSpec().system_problems(system(SIT))
    assert problem == Problem(("kind",), "'inverse' runs a flow backwards, and prior 'sit' is none", "ode or sde")
    where = {"kind": "prior", "tap": {"block": 0, "layer": 0}}
    spec = OUTPUTS.spec("representation").model_validate({"where": where})
    (problem,) = spec.system_problems(system(SIT))
    assert problem.message == "prior 'sit' sees latents at a time or noise level, and a representation has none"
    nll = NllSpec.model_validate({"noise": {"kind": "gaussian", "std": 0.1}})
    (problem,) = nll.system_problems(system(SIT), IMAGE)
    assert problem == Problem(("kind",), "prior 'sit' is no flow and has no likelihood", "velocity")
    (problem,) = VelocitySpec().system_problems(system(FLOW), IMAGE)
    assert problem.message == "prior 'class_gaussian' is a flow and has no velocity to learn"


def test_the_velocity_alone_does_not_train_a_tokenizer() -> None:
    made = System.model_validate({"tokenizer": KL_VAE["tokenizer"], "prior": SIT})
    assert list(VelocitySpec().training_problems(made, ["prior"])) == []
    (problem,) = VelocitySpec().training_problems(made, ["tokenizer", "prior"])
    assert problem.message == "the velocity alone would collapse a tokenizer that is trained with it"


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"diffusion": {"kind": "sbdm"}}, ("start",), "the diffusion 'sbdm' is infinite at t = 0"),
        ({"start": 0.97}, ("start",), "the last step begins earlier, at 0.96"),
        (
            {"method": "heun", "last": None},
            ("last",),
            "'heun' asks for the score at the end of its steps, and there is none at t = 1",
        ),
        ({"guidance": {"weight": 1.0, "low": 0.6, "high": 0.5}}, ("guidance", "low"), "0.6 is above high, 0.5"),
    ],
)
def test_contradictions_in_a_spec(fields: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    (problem,) = all_problems(SdeSpec.model_validate({"steps": 3, **fields}))
    assert (problem.path, problem.message) == (path, message)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"method": "heun"}, "steps", "'heun' needs a number of steps"),
        ({"method": "dopri5", "steps": 3}, "steps", "dopri5 chooses its own steps"),
        ({"method": "rk4", "steps": 3, "error": "sample"}, "error", "'rk4' does not look at its error"),
        ({"steps": 3, "relative_tolerance": 0.1}, "relative_tolerance", "'euler' does not look at its error"),
    ],
)
def test_who_chooses_the_steps_of_an_ode(fields: dict[str, Any], path: str, message: str) -> None:
    (problem,) = all_problems(OdeSpec.model_validate(fields))
    assert (problem.path, problem.message) == ((path,), message)
    assert not list(all_problems(OdeSpec(method="dopri5", relative_tolerance=0.1, error="sample")))
