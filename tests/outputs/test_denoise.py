"""Steps along the score have a closed form on Gaussian data, and leave the prior as it was."""

from __future__ import annotations

import pytest
import torch
from parts import CLASSES, LATENT, TARFLOW, image_draws, tiny_latents, tiny_prior

from mimflow.outputs.inverse.denoise import denoise, score_denoise, score_guide
from mimflow.outputs.inverse.spec import ScoreDenoising, ScoreGuidance
from mimflow.priors.class_gaussian.model import ClassGaussian
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.tarflow.model import Tarflow

LABELS = torch.tensor([0, 1, 2, -1, 0])


@pytest.mark.parametrize(("data", "noise"), [(1.0, 0.5), (0.3, 0.3), (2.0, 0.05)])
def test_gaussian_data_shrinks_by_wiener(data: float, noise: float) -> None:
    prior = ClassGaussian(ClassGaussianSpec(), LATENT, CLASSES).double()
    prior.cholesky *= (data**2 + noise**2) ** 0.5
    x = tiny_latents(5)
    denoised = score_denoise(prior, x, LABELS, noise)
    torch.testing.assert_close(denoised, x * data**2 / (data**2 + noise**2))


def test_a_flow_at_its_start_is_a_standard_normal() -> None:
    prior = Tarflow(TARFLOW, LATENT, CLASSES).double()
    x = tiny_latents(5)
    torch.testing.assert_close(score_denoise(prior, x, LABELS, 0.5), 0.75 * x)


def test_score_is_the_gradient_of_the_log_density() -> None:
    prior, x = tiny_prior(TARFLOW), tiny_latents(5)
    score = (score_denoise(prior, x, LABELS, 0.1) - x) / 0.01
    direction = tiny_latents(5, seed=5)
    step = 1e-5
    with torch.no_grad():
        ahead, behind = (prior.log_prob(x + sign * step * direction, LABELS) for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)
    torch.testing.assert_close((score * direction).flatten(1).sum(1), expected, rtol=1e-6, atol=1e-6)


def test_score_guidance_of_gaussian_classes_has_a_closed_form() -> None:
    """x + γ (Σ⁻¹ (x − μ) − Σ_c⁻¹ (x − μ_c)), the null class being the pooled data."""
    prior, x = tiny_prior(ClassGaussianSpec(ridge=0.1)), tiny_latents(5)
    inverse = torch.cholesky_inverse(prior.cholesky)
    own, pooled = (
        torch.einsum("bij,bj->bi", inverse[labels], x.flatten(1) - prior.mean[labels])
        for labels in (LABELS, torch.full_like(LABELS, -1))
    )
    expected = x + 0.4 * (pooled - own).view_as(x)
    guided = score_guide(prior, x, LABELS, 0.4)
    torch.testing.assert_close(guided, expected)
    torch.testing.assert_close(guided[3], x[3])  # the null class


def test_score_guidance_of_equally_wide_classes_moves_along_the_difference_of_their_means() -> None:
    prior = ClassGaussian(ClassGaussianSpec(), LATENT, CLASSES).double()
    prior.mean[1] += 3.0
    x, labels = tiny_latents(2), torch.tensor([1, 1])
    torch.testing.assert_close(score_guide(prior, x, labels, 0.25), x + 0.75)


def test_a_spec_says_which_step_is_taken() -> None:
    prior, x = tiny_prior(TARFLOW), tiny_latents(5)
    assert denoise(ScoreDenoising(std=0.3), prior, x, LABELS, image_draws(len(LABELS))).equal(
        score_denoise(prior, x, LABELS, 0.3)
    )
    assert denoise(ScoreGuidance(), prior, x, LABELS, image_draws(len(LABELS))).equal(
        score_guide(prior, x, LABELS, 0.25)
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_sub_batches_cover_every_sample(count: int) -> None:
    prior, x = tiny_prior(TARFLOW), tiny_latents(5)
    together = score_denoise(prior, x, LABELS, 0.3)
    some = score_denoise(prior, x[:count], LABELS[:count], 0.3)
    torch.testing.assert_close(some, together[:count])


@pytest.mark.parametrize("spec", [ScoreDenoising(std=0.3), ScoreGuidance()], ids=lambda spec: spec.kind)
def test_the_prior_is_left_as_it_was(spec: ScoreDenoising | ScoreGuidance) -> None:
    prior = tiny_prior(TARFLOW.model_copy(update={"volume_preserving": True})).train()
    prior.blocks[1].eval()
    prior.blocks[0].proj_in.weight.requires_grad_(False)
    prior.blocks[0].proj_out.bias.grad = torch.ones_like(prior.blocks[0].proj_out.bias)
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    modes = [module.training for module in prior.modules()]
    needs = [parameter.requires_grad for parameter in prior.parameters()]

    denoised = denoise(spec, prior, tiny_latents(5), LABELS, image_draws(len(LABELS)))

    assert not denoised.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in prior.state_dict().items())
    assert [module.training for module in prior.modules()] == modes
    assert [parameter.requires_grad for parameter in prior.parameters()] == needs
    with_grad = [name for name, parameter in prior.named_parameters() if parameter.grad is not None]
    assert with_grad == ["blocks.0.proj_out.bias"]
    assert (prior.blocks[0].proj_out.bias.grad == 1).all()


@pytest.mark.parametrize("spec", [ScoreDenoising(std=0.3), ScoreGuidance(step=0.25)], ids=["score", "score_guidance"])
def test_how_many_gradients_are_taken_at_once_is_no_matter_of_the_result(
    spec: ScoreDenoising | ScoreGuidance, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, x = tiny_prior(TARFLOW), tiny_latents(5)
    whole = denoise(spec, prior, x, LABELS, image_draws(5))
    sizes: list[int] = []
    log_prob = type(prior).log_prob
    monkeypatch.setattr(
        type(prior), "log_prob", lambda self, x, labels: (sizes.append(len(x)), log_prob(self, x, labels))[1]
    )
    small = denoise(spec.model_copy(update={"at_once": 1}), prior, x, LABELS, image_draws(5))
    torch.testing.assert_close(small, whole)
    assert set(sizes) == {1} and spec.identity() == spec.model_copy(update={"at_once": 1}).identity()
