"""Objectives that one pass over the data solves: moments of a prior, the scale of a tokenizer's latents."""

from __future__ import annotations

import math

import pytest
import torch
from training_parts import GAUSSIAN, MEASURED, SHAPES, batch_of, objective_of, perturbed_modules, tiny_data

from mimflow.artifacts.manifest import Artifact
from mimflow.data.prepared import Prepared
from mimflow.errors import DataError
from mimflow.objectives.base import ClosedForm
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.training.batches import InOrder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("closed-form") / "data")


@pytest.mark.parametrize("sampled", [True, False])
def test_the_scale_is_one_over_the_spread_of_what_training_sees(data: Artifact, sampled: bool) -> None:
    train = Prepared.open(data).split("train")
    variance = {"kind": "learnable", "sample_posterior": sampled}
    modules = perturbed_modules(MEASURED | {"tokenizer": MEASURED["tokenizer"] | {"variance": variance}})
    objective = objective_of({"kind": "latent_scale"}, modules)
    assert isinstance(objective, ClosedForm)
    images = next(iter(InOrder(train, 40, CPU))).images
    with torch.no_grad():
        posterior = modules.tokenizer.posterior(images)
        draws = posterior.mean + sampled * torch.exp(0.5 * posterior.log_variance) * torch.randn(
            500, *posterior.mean.shape
        )
        before = modules.tokenizer.decode(posterior.mean)
    objective.fit(InOrder(train, 7, CPU))
    scale = modules.tokenizer.scale.item()
    assert scale == pytest.approx(1 / draws.std().item(), rel=0.01 if sampled else 1e-3)
    torch.testing.assert_close(modules.tokenizer.encode(images), scale * posterior.mean)
    with torch.no_grad():
        torch.testing.assert_close(modules.tokenizer.decode(scale * posterior.mean), before)
        loss, figures = objective("system", batch_of(images), {})
    assert loss.item() == pytest.approx(1 + figures["latent_mean"].item() ** 2, rel=0.1)
    assert figures["scale"].item() == pytest.approx(scale)


def test_latents_that_do_not_vary_have_no_scale(data: Artifact) -> None:
    modules = SystemModules(System.model_validate(MEASURED), SHAPES)
    for parameter in modules.parameters():
        parameter.data.zero_()
    modules.tokenizer.quant_conv.bias.data[2:] = -30.0
    modules.tokenizer.spec = modules.tokenizer.spec.model_copy(
        update={"variance": modules.tokenizer.spec.variance.model_copy(update={"sample_posterior": False})}
    )
    with pytest.raises(DataError, match="the latents of all images are 0: they have no spread to be scaled by"):
        objective_of({"kind": "latent_scale"}, modules).fit(InOrder(Prepared.open(data).split("train"), 7, CPU))


def test_moments_fit_the_training_latents_whatever_the_batches(data: Artifact) -> None:
    train = Prepared.open(data).split("train")
    whole = next(iter(InOrder(train, 40, CPU)))
    fitted = []
    for size in (7, 40):
        modules = SystemModules(System.model_validate(GAUSSIAN), SHAPES)
        objective = objective_of({"kind": "moments"}, modules)
        assert isinstance(objective, ClosedForm)
        before, _ = objective("system", whole, {})
        objective.fit(InOrder(train, size, CPU))
        after, _ = objective("system", whole, {})
        log_density = modules.module("prior").log_prob(modules.module("tokenizer").encode(whole.images), whole.labels)
        torch.testing.assert_close(after, -log_density.mean() / 64 - 0.5 * math.log(2 * math.pi))
        assert after < before
        fitted.append(after)
    torch.testing.assert_close(fitted[0], fitted[1])
