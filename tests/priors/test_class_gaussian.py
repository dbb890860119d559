"""The class-Gaussian baseline has closed forms to be checked against."""

from __future__ import annotations

import pytest
import torch
from parts import CLASSES, LATENT, tiny_latents

from mimflow.errors import DataError
from mimflow.priors.base import NULL_CLASS
from mimflow.priors.class_gaussian.model import ClassGaussian
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec

RIDGE = 0.01
LABELS = torch.arange(60) % CLASSES


def latents() -> torch.Tensor:
    return tiny_latents(60) * (1 + LABELS[:, None, None]) + LABELS[:, None, None]


def fitted(batch: int = 60) -> ClassGaussian:
    prior = ClassGaussian(ClassGaussianSpec(ridge=RIDGE), LATENT, CLASSES).double()
    prior.fit(zip(latents().split(batch), LABELS.split(batch), strict=True))
    return prior


@pytest.mark.parametrize("label", [0, 1, 2, NULL_CLASS])
def test_density_is_that_of_the_fitted_gaussian(label: int) -> None:
    x = latents().flatten(1)
    x = x if label == NULL_CLASS else x[label == LABELS]
    covariance = torch.cov(x.T, correction=0) + RIDGE * torch.eye(LATENT.dimensions, dtype=x.dtype)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), covariance)
    here = tiny_latents(4, seed=7)
    log_prob = fitted().log_prob(here, torch.full((4,), label))
    torch.testing.assert_close(log_prob, gaussian.log_prob(here.flatten(1)), rtol=1e-9, atol=0)


def test_fit_does_not_depend_on_the_batches() -> None:
    whole, parts = fitted(), fitted(batch=7)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.cholesky, whole.cholesky)


def test_null_labels_count_for_the_pool_only() -> None:
    labels = LABELS.clone()
    labels[-3:] = NULL_CLASS
    prior = ClassGaussian(ClassGaussianSpec(ridge=RIDGE), LATENT, CLASSES).double()
    prior.fit([(latents(), labels)])
    torch.testing.assert_close(prior.mean[-1], latents().flatten(1).mean(0))
    torch.testing.assert_close(prior.mean[0], latents().flatten(1)[labels == 0].mean(0))


def test_fewer_images_than_dimensions_still_have_a_density() -> None:
    prior = ClassGaussian(ClassGaussianSpec(ridge=RIDGE), LATENT, CLASSES)
    prior.fit([(latents()[:6].float(), LABELS[:6])])
    assert prior.log_prob(latents()[:6].float(), LABELS[:6]).isfinite().all()


def test_a_class_without_images_is_named() -> None:
    prior = ClassGaussian(ClassGaussianSpec(), LATENT, CLASSES)
    with pytest.raises(DataError, match=r"no image of class \[1\] to fit a Gaussian to, 40 images in all"):
        prior.fit([(latents()[LABELS != 1], LABELS[LABELS != 1])])
