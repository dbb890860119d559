"""The inverse output: from noise to images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import image_draws

from mimflow.outputs.inverse.output import InverseSampler
from mimflow.outputs.inverse.spec import InverseSpec, ScoreDenoising, ScoreGuidance
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.class_gaussian.model import ClassGaussian
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import ImageShape
from mimflow.system.spec import System
from mimflow.tokenizers.pixel.model import PixelTokenizer
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

IMAGE = ImageShape(1, 4)
PIXEL = PixelTokenizerSpec(patch_size=2)
LATENT = PIXEL.latent_shape(IMAGE)
TOKENIZER = PixelTokenizer(PIXEL, IMAGE)
LABELS = torch.tensor([0, 1, NULL_CLASS])


def flow() -> Tarflow:
    torch.manual_seed(0)
    prior = Tarflow(TarflowSpec(width=8, blocks=[1, 1], head_width=4), LATENT, 2)
    for block in prior.blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.1)
        torch.nn.init.normal_(block.class_embed)
    return prior


def gaussian(std: float) -> ClassGaussian:
    prior = ClassGaussian(ClassGaussianSpec(), LATENT, 2)
    prior.cholesky *= std
    return prior


def sample(prior: Any, labels: torch.Tensor, seed: int = 0, **fields: Any) -> torch.Tensor:
    return InverseSampler(InverseSpec(**fields)).sample(TOKENIZER, prior, labels, image_draws(len(labels), seed))


def test_images_are_in_range_and_follow_the_seed() -> None:
    images = sample(flow(), LABELS, guidance=LinearGuidance(weight=1.0), denoise=ScoreDenoising(std=0.1))
    again = sample(flow(), LABELS, guidance=LinearGuidance(weight=1.0), denoise=ScoreDenoising(std=0.1))
    assert images.shape == (3, 1, 4, 4)
    assert images.abs().max() == 1
    assert not images.requires_grad
    assert torch.equal(images, again)
    assert not torch.equal(images, sample(flow(), LABELS, seed=1))


def test_noise_comes_from_the_given_draws_alone() -> None:
    torch.manual_seed(1)
    images = sample(flow(), LABELS)
    torch.manual_seed(2)
    assert torch.equal(images, sample(flow(), LABELS))


class Listening(Tarflow):
    """Notes in which precision it is asked to multiply, sampling and along its score."""

    def __init__(self, prior: Tarflow):
        super().__init__(TarflowSpec(width=8, blocks=[1, 1], head_width=4), LATENT, 2)
        self.load_state_dict(prior.state_dict())
        self.heard: list[torch.dtype] = []
        for block in self.blocks:
            block.proj_in.register_forward_hook(lambda module, inputs, output: self.heard.append(output.dtype))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_is_that_of_sampling_and_of_the_score(precision: str) -> None:
    prior = Listening(flow())
    fields = {"guidance": LinearGuidance(weight=1.0), "denoise": ScoreDenoising(std=0.1)}
    images = sample(prior, LABELS, precision=precision, **fields)
    assert set(prior.heard) == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, sample(flow(), LABELS, **fields), atol=0.2, rtol=0)


def test_labels_matter_and_unconditional_sampling_works() -> None:
    null = torch.full((3,), NULL_CLASS)
    conditional, unconditional = sample(flow(), LABELS), sample(flow(), null)
    torch.testing.assert_close(conditional[2], unconditional[2])
    assert not torch.allclose(conditional[:2], unconditional[:2])


def test_steps_follow_each_other() -> None:
    """Noise of N(0, τ²) through x = s z, then shrunk by 1 − σ² / s²."""
    labels = torch.zeros(400, dtype=torch.long)
    images = sample(gaussian(0.2), labels, noise_temperature=0.5, denoise=ScoreDenoising(std=0.1))
    noise = gaussian(1.0).noise(image_draws(400))
    torch.testing.assert_close(images, TOKENIZER.decode(noise * 0.5 * 0.2 * 0.75))


def test_a_step_to_the_class_comes_after_sampling() -> None:
    prior = gaussian(0.2)
    prior.mean[1] += 0.1
    labels = torch.ones(3, dtype=torch.long)
    noise = prior.noise(image_draws(3))
    images = sample(prior, labels, denoise=ScoreGuidance(step=0.01))
    # Classes that differ in their mean alone: γ (μ_c − μ) / σ².
    torch.testing.assert_close(images, TOKENIZER.decode(noise * 0.2 + 0.1 + 0.01 * 0.1 / 0.04).clamp(-1, 1))


def test_a_step_to_the_class_needs_classes() -> None:
    system = System.model_validate(
        {"tokenizer": PIXEL, "prior": TarflowSpec(width=8, blocks=[1], head_width=4, class_conditional=False)}
    )
    (problem,) = InverseSpec(denoise=ScoreGuidance()).system_problems(system)
    assert problem.path == ("denoise", "kind")
    assert problem.message == "the prior knows no classes to step towards"
    assert not list(InverseSpec(denoise=ScoreDenoising(std=0.1)).system_problems(system))


def test_the_modules_keep_their_mode() -> None:
    prior = flow().train()
    sample(prior, LABELS)
    assert all(module.training for module in prior.modules())
    assert all(parameter.requires_grad for parameter in prior.parameters())


@pytest.mark.fault("not finite")
def test_what_is_not_finite_is_not_clamped_away() -> None:
    prior = gaussian(0.2)
    prior.mean[1, 0] = torch.nan
    assert sample(prior, LABELS).isfinite().flatten(1).all(1).tolist() == [True, False, True]
