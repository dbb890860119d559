"""TARFlow beyond the contract: its start, its volume-preserving mode, and its published sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import CLASSES, LATENT, TARFLOW, image_draws, tiny_latents, tiny_prior

from mimflow.priors.base import NULL_CLASS
from mimflow.priors.tarflow.model import Tarflow
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.spec.shapes import ImageShape
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec

VOLUME_PRESERVING = TARFLOW.model_copy(update={"volume_preserving": True})


def test_starts_as_the_identity() -> None:
    latents = tiny_latents(3).float()
    z, logdet, _ = Tarflow(TARFLOW, LATENT, CLASSES)(latents, torch.tensor([0, 1, NULL_CLASS]))
    assert torch.equal(z, latents)
    assert not logdet.any()


def test_null_class_is_the_mean_over_the_table() -> None:
    block = tiny_prior(TARFLOW).blocks[0]
    null = block._classes(block.class_embed, torch.tensor([NULL_CLASS]))[0]
    torch.testing.assert_close(null, block.class_embed.mean(0))


def test_odd_blocks_run_backwards() -> None:
    prior = tiny_prior(TARFLOW)
    assert [block.reverse for block in prior.blocks] == [False, True, False]


def test_samples_are_ordinary_tensors() -> None:
    prior = tiny_prior(TARFLOW)
    latents = prior.inverse(tiny_latents(2), torch.tensor([0, 1]))
    assert not latents.requires_grad
    latents.requires_grad_()
    prior.log_prob(latents, torch.tensor([0, 1])).sum().backward()
    assert latents.grad is not None


def test_sampling_under_bf16_autocast_stays_near() -> None:
    prior, z, labels = tiny_prior(TARFLOW).float(), 0.5 * tiny_latents(4).float(), torch.tensor([0, 1, 2, -1])
    with torch.autocast("cpu", torch.bfloat16):
        half = prior.inverse(z, labels)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, prior.inverse(z, labels), atol=0.1, rtol=0)


def test_volume_preserving_learns_its_variance_in_training_only() -> None:
    prior, latents, labels = tiny_prior(VOLUME_PRESERVING), tiny_latents(4), torch.tensor([0, 1, 2, -1])
    z = prior(latents, labels).z
    assert torch.equal(prior.variance, torch.ones_like(prior.variance))
    prior.train()(latents, labels)
    torch.testing.assert_close(prior.variance, 0.9 + 0.1 * z.square().mean(0))
    assert not prior(latents, labels).logdet.any()


def test_volume_preserving_noise_and_density_have_the_variance() -> None:
    prior, labels = tiny_prior(VOLUME_PRESERVING), torch.tensor([0, 1])
    prior.variance.fill_(4.0)
    noise = prior.noise(image_draws(500))
    assert abs(noise.std() - 2) < 0.05
    z = prior(tiny_latents(2), labels).z
    expected = torch.distributions.Normal(0.0, 2.0).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(prior.log_prob(tiny_latents(2), labels), expected)


PUBLISHED = [
    pytest.param(64, 2, 768, 0, 460.1, id="imagenet64-unconditional"),
    pytest.param(64, 2, 768, 1000, 466.3, id="imagenet64"),
    pytest.param(128, 4, 1024, 1000, 823.9, id="imagenet128"),
    pytest.param(256, 8, 768, 3, 463.5, id="afhq256"),
]


@pytest.mark.parametrize(("size", "patch", "width", "classes", "millions"), PUBLISHED)
def test_published_sizes(size: int, patch: int, width: int, classes: int, millions: float) -> None:
    fields: dict[str, Any] = {"width": width, "blocks": [8] * 8, "class_conditional": classes > 0}
    latent = PixelTokenizerSpec(patch_size=patch).latent_shape(ImageShape(3, size))
    with torch.device("meta"):
        prior = Tarflow(TarflowSpec(**fields), latent, classes)
    count = sum(parameter.numel() for parameter in prior.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)
