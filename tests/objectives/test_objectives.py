"""Objectives: known values, and what each registered one must do."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_parts import (
    AUTOENCODER,
    CONVNET,
    DECODER,
    GAUSSIAN,
    JOINT,
    JOINT_FROZEN,
    KL_VAE,
    MASKED_AE,
    MEASURED,
    NLL,
    SHAPES,
    SIT,
    TARFLOW,
    VELOCITY,
    batch_of,
    objective_of,
    perturbed_modules,
    phase,
    tiny_data,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.data.prepared import Prepared
from mimflow.objectives.base import SYSTEM, ClosedForm, Objective, checkpoint_name
from mimflow.objectives.nll import bits_per_dimension, dequantise, drop_labels
from mimflow.objectives.registry import OBJECTIVES
from mimflow.priors.base import NULL_CLASS, FlowOutput, FlowPrior
from mimflow.priors.spec import Tap
from mimflow.progress import Progress
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.training.batches import InOrder
from mimflow.training.loop import Splits, Trainer
from mimflow.training.spec import Phase

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
UNIFORM = {"kind": "nll", "noise": {"kind": "uniform"}}


@dataclass(frozen=True)
class Example:
    """An objective on a system that has one module more than it needs."""

    objective: dict[str, Any]
    system: dict[str, Any]
    moves: tuple[str, ...]
    """What the names of the parameters that move begin with."""


EXAMPLES = {
    "nll": Example(NLL, TARFLOW | CONVNET, ("prior.",)),
    "velocity": Example(VELOCITY, SIT | CONVNET, ("prior.",)),
    "moments": Example({"kind": "moments"}, GAUSSIAN | CONVNET, ("prior.",)),
    "latent_scale": Example({"kind": "latent_scale"}, MEASURED | CONVNET, ("tokenizer.scale",)),
    "cross_entropy": Example({"kind": "cross_entropy"}, TARFLOW | CONVNET, ("classifier.",)),
    "joint": Example(JOINT, MASKED_AE | CONVNET, ("tokenizer.", "prior.", "objective.")),
    "joint on a frozen encoder": Example(
        JOINT_FROZEN,
        KL_VAE | CONVNET,
        ("tokenizer.decoder.", "tokenizer.post_quant_conv.", "prior.", "objective."),
    ),
    "autoencoder": Example(AUTOENCODER, KL_VAE | CONVNET, ("tokenizer.", "objective.discriminator.")),
    "decoder": Example(DECODER, MASKED_AE | CONVNET, ("tokenizer.decoder.", "objective.discriminator.")),
}

every_objective = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("objectives") / "data")


class Recorder(FlowPrior):
    """The identity, which remembers what it was shown."""

    def forward(self, latents: torch.Tensor, labels: torch.Tensor, tap: Tap | None = None) -> FlowOutput:
        self.latents, self.labels = latents, labels
        return FlowOutput(latents, latents.new_zeros(len(latents)))


def recording(objective: dict[str, Any]) -> tuple[Objective, Recorder]:
    modules = SystemModules(System.model_validate(TARFLOW), SHAPES)
    modules.prior = recorder = Recorder()
    return objective_of(objective, modules), recorder


# -- what all of them do ---------------------------------------------------------------------------------------------


def test_every_kind_has_an_example() -> None:
    missing = set(OBJECTIVES) - EXAMPLES.keys()
    assert not missing, f"add a tiny example of {missing} to EXAMPLES"


@every_objective
def test_names_only_modules_that_it_needs(example: Example) -> None:
    objective = objective_of(example.objective, perturbed_modules(example.system))
    needs = OBJECTIVES.spec(example.objective["kind"]).needs
    assert {prefix.split(".")[0] for prefix in example.moves} <= {*needs, "objective"}
    for player in objective.players(list(needs)):
        assert {name.split(".")[0] for name in player.parameters} <= {*needs, "objective"}


@every_objective
def test_one_step_moves_all_that_is_trained_and_nothing_else(example: Example, data: Artifact, tmp_path: Path) -> None:
    modules = perturbed_modules(example.system)
    objective = objective_of(example.objective, modules)
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if not name.startswith(SYSTEM):
                parameter += 0.1 * torch.randn_like(parameter)
    before = {name: tensor.clone() for name, tensor in objective.state().items()}
    prepared = Prepared.open(data)
    splits = Splits(prepared.split("train"), prepared.split("val"))
    if isinstance(objective, ClosedForm):
        objective.fit(InOrder(splits.train, 7, CPU))
        moving = {name for name in before if name.startswith(example.moves)}
    else:
        spec = Phase.model_validate(phase(objective=example.objective, steps=1, snapshots=[]))
        progress = Progress("tiny", stream=io.StringIO())
        needs = list(spec.objective.needs)
        trainer = Trainer(
            objective, spec, "main", needs, splits, 0, CPU, tmp_path, tmp_path / "out", progress, "0" * 64
        )
        trainer.run()
        moving = set(trainer.parameters)
        named = {checkpoint_name(name) for name, _ in objective.named_parameters()}
        assert moving == {name for name in named if name.startswith(example.moves)}
    after = objective.state()
    assert [name for name in moving if after[name].equal(before[name])] == []
    still = [name for name in before if not name.startswith(example.moves)]
    assert still, "the example's system has nothing that must not move"
    assert [name for name in still if not after[name].equal(before[name])] == []


@every_objective
def test_state_comes_back(example: Example) -> None:
    first = objective_of(example.objective, perturbed_modules(example.system))
    second = objective_of(example.objective, SystemModules(System.model_validate(example.system), SHAPES))
    second.load_state(first.state())
    assert all(tensor.equal(first.state()[name]) for name, tensor in second.state().items())


@every_objective
def test_loss_is_a_finite_scalar_and_so_are_its_figures(example: Example) -> None:
    objective = objective_of(example.objective, perturbed_modules(example.system))
    first = objective.players(list(OBJECTIVES.spec(example.objective["kind"]).needs))[0].name
    torch.manual_seed(0)
    loss, figures = objective(first, batch_of(torch.rand(5, 1, 8, 8) * 2 - 1), {})
    for value in (loss, *figures.values()):
        assert value.shape == ()
        assert value.isfinite()


# -- negative log-likelihood -----------------------------------------------------------------------------------------


def test_nll_of_the_identity_flow_is_half_the_mean_square() -> None:
    objective = objective_of(
        NLL | {"noise": {"kind": "gaussian", "std": 1e-9}}, SystemModules(System.model_validate(TARFLOW), SHAPES)
    )
    images = torch.linspace(-1, 1, 128).view(2, 1, 8, 8)
    loss, figures = objective("system", batch_of(images), {})
    expected = 0.5 * images.square().mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(figures["nll"], expected)
    torch.testing.assert_close(figures["z2"], 2 * expected)
    torch.testing.assert_close(figures["logdet"], torch.tensor(0.0))
    assert "bpd" not in figures


def test_nll_is_the_log_density_per_dimension_without_its_constant() -> None:
    modules = perturbed_modules(TARFLOW)
    objective = objective_of(NLL | {"noise": {"kind": "gaussian", "std": 1e-9}}, modules).eval()
    images, labels = torch.rand(6, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    loss, _ = objective("system", batch_of(images, labels), {})
    log_density = modules.module("prior").log_prob(modules.module("tokenizer").encode(images), labels)
    torch.testing.assert_close(loss, -log_density.mean() / 64 - 0.5 * math.log(2 * math.pi))


def volume_preserving() -> dict[str, Any]:
    return TARFLOW | {"prior": TARFLOW["prior"] | {"volume_preserving": True}}


def test_volume_preserving_flows_train_as_released_and_log_the_likelihood_of_their_density() -> None:
    """The density's noise is N(0, diag(4)): −log p = ½ (z² / 4 + log 4 + log 2π) a dimension, dequantised or not."""
    modules = perturbed_modules(volume_preserving())
    prior = modules.module("prior")
    prior.variance.fill_(4.0)
    objective = objective_of(UNIFORM, modules).eval()
    levels = torch.randint(256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images, labels = levels / 127.5 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(1)
    loss, figures = objective("system", batch_of(images, labels), {})
    torch.manual_seed(1)
    z = prior(modules.module("tokenizer").encode(dequantise(images)), labels).z
    torch.testing.assert_close(loss, 0.5 * z.square().mean())
    nll = 0.5 * (z.square() / 4 + math.log(4)).mean()
    torch.testing.assert_close(figures["nll"], nll)
    # The pixels' 256 levels span 2: 8 bits less log₂ 2 are what a density of 1 costs.
    torch.testing.assert_close(figures["bpd"], 7 + (nll + 0.5 * math.log(2 * math.pi)) / math.log(2))


def test_volume_preserving_flows_learn_their_variance_as_they_are_trained() -> None:
    modules = perturbed_modules(volume_preserving())
    objective = objective_of(NLL | {"noise": {"kind": "none"}, "label_drop": 0.0}, modules)
    images, labels = torch.rand(6, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    objective.training_mode(["prior"])
    objective("system", batch_of(images, labels), {})
    prior = modules.module("prior").eval()
    z = prior(modules.module("tokenizer").encode(images), labels).z
    torch.testing.assert_close(prior.variance, 0.9 + 0.1 * z.square().mean(0))


def test_latent_norm_is_of_all_that_blocks_read() -> None:
    """Blocks that do nothing but multiply by 2 and by 3 read latents of mean square 1 and 4: the 36 is not counted."""
    objective, _ = recording(NLL | {"noise": {"kind": "none"}, "latent_norm_weight": 0.5})

    class Scales(FlowPrior):
        def by_block(self, latents: torch.Tensor, labels: torch.Tensor) -> Iterator[FlowOutput]:
            yield FlowOutput(2 * latents, latents.new_full((len(latents),), 64 * math.log(2)))
            yield FlowOutput(6 * latents, latents.new_full((len(latents),), 64 * math.log(6)))

    objective.system.prior = Scales()
    loss, figures = objective("system", batch_of(torch.ones(3, 1, 8, 8)), {})
    assert figures["latent_norm"].item() == 5
    assert figures["nll"].item() == pytest.approx(0.5 * 36 - math.log(6))
    assert loss.item() == pytest.approx(figures["nll"].item() + 0.5 * 5)


def test_latent_norm_of_a_flow_is_summed_over_its_shallow_blocks() -> None:
    modules = perturbed_modules(TARFLOW)
    objective = objective_of(NLL | {"noise": {"kind": "none"}, "latent_norm_weight": 1e-4}, modules).eval()
    batch = batch_of(torch.rand(4, 1, 8, 8))
    loss, figures = objective("system", batch, {})
    latents = modules.module("tokenizer").encode(batch.images)
    first, _ = modules.module("prior").blocks
    expected = latents.square().mean() + first(latents, batch.labels).z.square().mean()
    torch.testing.assert_close(figures["latent_norm"], expected)
    torch.testing.assert_close(loss, figures["nll"] + 1e-4 * expected)


def test_latent_norm_is_of_one_level_of_noise() -> None:
    spec = NLL | {"noise": {"kind": "levels", "t0": 0.1, "t1": 0.5}, "latent_norm_weight": 1e-4}
    (problem,) = Phase.model_validate(phase(objective=spec)).objective.problems()
    assert problem.path == ("latent_norm_weight",)
    assert problem.message == "is of one level of noise, and there are many"


def test_a_prior_on_a_frozen_vae_sees_draws_from_the_posterior_with_noise_added() -> None:
    modules = perturbed_modules(KL_VAE)
    modules.prior = recorder = Recorder()
    objective = objective_of(NLL | {"noise": {"kind": "gaussian", "std": 0.5}}, modules)
    objective.training_mode(["prior"])
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = batch_of(images.expand(2000, -1, -1, -1))
    objective("system", batch, {})
    posterior = modules.tokenizer.posterior(images)
    seen = recorder.latents.double()
    wanted = (posterior.log_variance.exp() + 0.25)[0].double()
    assert wanted.max() / wanted.min() > 1.1, "the posterior's variance is that of no constant"
    torch.testing.assert_close(seen.mean(0), posterior.mean[0].double(), atol=0.15, rtol=0)
    torch.testing.assert_close(seen.var(0), wanted, rtol=0.15, atol=0)


def test_the_likelihood_trains_no_frozen_vae(data: Artifact, tmp_path: Path) -> None:
    objective = objective_of(NLL, perturbed_modules(KL_VAE))
    before = {name: tensor.clone() for name, tensor in objective.state().items()}
    spec = Phase.model_validate(phase(objective=NLL, trains=["prior"], steps=1, snapshots=[]))
    prepared = Prepared.open(data)
    splits = Splits(prepared.split("train"), prepared.split("val"))
    progress = Progress("tiny", stream=io.StringIO())
    Trainer(objective, spec, "main", spec.trained, splits, 0, CPU, tmp_path, tmp_path / "out", progress, "0" * 64).run()
    changed = {name for name, tensor in objective.state().items() if not tensor.equal(before[name])}
    assert changed and all(name.startswith("prior.") for name in changed)


def test_without_noise_the_prior_sees_the_latents() -> None:
    objective, recorder = recording(NLL | {"noise": {"kind": "none"}})
    batch = batch_of(torch.rand(4, 1, 8, 8))
    objective("system", batch, {})
    assert recorder.latents.equal(objective.tokenizer.encode(batch.images))


def test_gaussian_noise_has_the_standard_deviation_of_the_spec() -> None:
    objective, recorder = recording(NLL)
    torch.manual_seed(0)
    objective("system", batch_of(torch.zeros(500, 1, 8, 8)), {})
    assert recorder.latents.mean().item() == pytest.approx(0, abs=0.01)
    assert recorder.latents.std().item() == pytest.approx(0.3, abs=0.005)


def test_dequantised_images_stay_in_their_level() -> None:
    levels = torch.arange(256.0)
    torch.manual_seed(0)
    noisy = dequantise((levels / 127.5 - 1).expand(1000, 256))
    assert noisy.min() >= -1 and noisy.max() <= 1
    within = (noisy + 1) * 128 - levels  # u of each draw
    assert within.min() > -1e-4 and within.max() < 1 + 1e-4
    torch.testing.assert_close(within.mean(0), torch.full((256,), 0.5), atol=0.05, rtol=0)
    assert within.var().item() == pytest.approx(1 / 12, rel=0.01)


def test_bits_per_dimension_of_the_identity_flow_bound_the_probability_of_each_level() -> None:
    objective = objective_of(UNIFORM, SystemModules(System.model_validate(TARFLOW), SHAPES))
    random = np.random.default_rng(0)
    levels = random.integers(0, 256, (400, 1, 8, 8))
    torch.manual_seed(0)
    _, figures = objective("system", batch_of(torch.from_numpy(levels / 127.5 - 1).float()), {})
    normal = torch.distributions.Normal(0.0, 1.0)
    left = torch.from_numpy(levels / 128 - 1)
    exact = -torch.log2(normal.cdf(left + 1 / 128) - normal.cdf(left)).mean()
    assert figures["bpd"].item() == pytest.approx(exact.item(), abs=1e-3)


def test_bits_per_dimension_known_answer() -> None:
    # A flow that maps the 256 levels to a uniform density has 8 bits: nll + ½ log 2π = log 2 then, as dx/du = 1/128.
    nll = torch.tensor(math.log(2) - 0.5 * math.log(2 * math.pi))
    assert bits_per_dimension(nll).item() == pytest.approx(8.0)


def test_labels_are_dropped_at_the_rate_of_the_spec() -> None:
    torch.manual_seed(0)
    labels = torch.arange(100_000) % 10
    dropped = drop_labels(labels, 0.1)
    assert (dropped == NULL_CLASS).float().mean().item() == pytest.approx(0.1, abs=0.004)
    kept = dropped != NULL_CLASS
    assert dropped[kept].equal(labels[kept])
    assert drop_labels(labels, 1.0).eq(NULL_CLASS).all()
    assert drop_labels(labels, 0.0).equal(labels)


def test_labels_are_dropped_in_training_only() -> None:
    objective, recorder = recording(NLL | {"label_drop": 1.0})
    batch = batch_of(torch.zeros(4, 1, 8, 8))
    objective("system", batch, {})
    assert recorder.labels.eq(NULL_CLASS).all()
    objective.eval()
    objective("system", batch, {})
    assert recorder.labels.equal(batch.labels)


# -- the others ------------------------------------------------------------------------------------------------------


def test_cross_entropy_of_equal_logits_is_the_log_of_the_classes() -> None:
    modules = SystemModules(System.model_validate(CONVNET), SHAPES)
    torch.nn.init.zeros_(modules.classifier.logits.weight)
    torch.nn.init.zeros_(modules.classifier.logits.bias)
    objective = objective_of({"kind": "cross_entropy"}, modules)
    labels = torch.tensor([0, 0, 0, 1])
    loss, figures = objective("system", batch_of(torch.rand(4, 1, 8, 8), labels), {})
    assert loss.item() == pytest.approx(math.log(3))
    assert figures["accuracy"].item() == pytest.approx(0.75)  # argmax of equal logits is the first class


def test_labels_are_smoothed_in_training_only() -> None:
    modules = perturbed_modules(CONVNET)
    batch = batch_of(torch.rand(4, 1, 8, 8))
    plain = objective_of({"kind": "cross_entropy"}, modules)
    smooth = objective_of({"kind": "cross_entropy", "label_smoothing": 0.3}, modules)
    assert not torch.isclose(plain("system", batch, {})[0], smooth("system", batch, {})[0])
    plain.eval()
    smooth.eval()
    assert torch.equal(plain("system", batch, {})[0], smooth("system", batch, {})[0])
