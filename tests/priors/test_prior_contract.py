"""What every registered prior must do."""

from __future__ import annotations

import pytest
import torch
from parts import (
    PRIOR_EXAMPLES,
    flattened,
    image_draws,
    label_of,
    latent_for,
    levels_of,
    missing_examples,
    tiny_example,
    tiny_latents,
    tiny_prior,
)

from mimflow.nn.stepper import keeping_steppers
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import NULL_CLASS, FlowPrior, GuidablePrior, Prior, PriorLoss, Tap
from mimflow.priors.guidance.rules import LinearRule
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.registry import PRIORS
from mimflow.priors.spec import PriorSpec
from mimflow.priors.velocity import VelocityPrior

LABELS = torch.tensor([0, 2, NULL_CLASS, 1, NULL_CLASS])
ATOL = 1e-9

CASES = [
    pytest.param(spec, level, id=label_of(spec) + (f"-{level}" if level is not None else ""))
    for spec in flattened(PRIOR_EXAMPLES)
    for level in levels_of(spec)
]
every_prior = pytest.mark.parametrize(("spec", "level"), CASES)
every_flow = pytest.mark.parametrize(("spec", "level"), [case for case in CASES if case.values[0].flow])


def tensor_of(level: float | None) -> torch.Tensor | None:
    """Of one sample."""
    return None if level is None else torch.tensor([level], dtype=torch.float64)


def answer(prior: Prior, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What a prior makes of latents (B, T, C): the noise of a flow, a velocity at a time that follows from them."""
    if isinstance(prior, VelocityPrior):
        return prior(latents, latents[:, 0, 0].sigmoid(), labels).velocity
    return prior(latents, labels).z


def seeded_loss(prior: Prior, latents: torch.Tensor, tap: Tap | None = None) -> PriorLoss:
    """The training loss on latents, with the same draws every time."""
    torch.manual_seed(0)
    return prior.training_loss(latents, LABELS, tap)


def test_every_kind_has_an_example() -> None:
    missing = missing_examples(PRIORS, PRIOR_EXAMPLES)
    assert not missing, f"add a tiny example of {missing} to PRIOR_EXAMPLES in tests/parts.py"


@every_flow
def test_round_trip(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    z, logdet, _ = prior(latents, LABELS)
    assert z.shape == latents.shape
    assert logdet.shape == (len(LABELS),)
    assert (z - latents).abs().max() > 0.1
    torch.testing.assert_close(prior.inverse(z, LABELS), latents, atol=ATOL, rtol=0)


@every_flow
def test_inverse_is_the_fixed_point_of_the_parallel_pass(spec: PriorSpec, level: float | None) -> None:
    prior, z = tiny_example(spec, level, len(LABELS))
    torch.testing.assert_close(prior(prior.inverse(z, LABELS), LABELS).z, z, atol=ATOL, rtol=0)


def batches_from(prior: FlowPrior, z: torch.Tensor) -> list[torch.Tensor]:
    """Samples in batches of two sizes, of other classes each time, some of them guided in two ways."""
    drawn = [prior.inverse(z.roll(turn, 0), LABELS.roll(turn)) for turn in range(3)]
    drawn += [prior.inverse(z[:2], LABELS[:2]), prior.inverse(z, LABELS)]
    if isinstance(prior, GuidablePrior):
        by_class = LinearGuidance(weight=1.5)
        by_temperature = LinearGuidance(weight=1.5, against="attention_temperature", temperature=0.7)
        rules = [LinearRule(spec) for spec in (by_class, by_temperature, by_class)]
        drawn += [prior.inverse(z, LABELS.roll(turn).relu(), rule) for rule in rules for turn in range(2)]
    return drawn


@every_flow
def test_what_is_kept_from_batch_to_batch_changes_no_sample(spec: PriorSpec, level: float | None) -> None:
    prior, z = tiny_example(spec, level, len(LABELS))
    each_anew = batches_from(prior, z)
    with keeping_steppers():
        kept = batches_from(prior, z)
    assert all(torch.equal(one, other) for one, other in zip(kept, each_anew, strict=True))


@every_flow
def test_logdet_is_that_of_the_jacobian(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    logdet = prior(latents, LABELS).logdet
    for index in range(len(LABELS)):
        chosen = slice(index, index + 1)
        jacobian = torch.autograd.functional.jacobian(
            lambda x, chosen=chosen: prior(x, LABELS[chosen]).z, latents[chosen]
        )
        expected = torch.linalg.slogdet(jacobian.reshape(2 * [latents[0].numel()])).logabsdet
        torch.testing.assert_close(logdet[index], expected, atol=ATOL, rtol=0)


@every_prior
def test_samples_of_a_batch_are_independent(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    together = answer(prior, latents, LABELS)
    for index in range(len(LABELS)):
        chosen = slice(index, index + 1)
        alone = answer(prior, latents[chosen], LABELS[chosen])
        torch.testing.assert_close(alone, together[chosen], atol=ATOL, rtol=0)


@every_flow
def test_densities_and_inverses_in_a_batch_are_independent(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    logdet, inverted = prior(latents, LABELS).logdet, prior.inverse(latents, LABELS)
    for index in range(len(LABELS)):
        chosen = slice(index, index + 1)
        alone = prior(latents[chosen], LABELS[chosen]).logdet
        torch.testing.assert_close(alone, logdet[chosen], atol=ATOL, rtol=0)
        alone_inverted = prior.inverse(latents[chosen], LABELS[chosen])
        torch.testing.assert_close(alone_inverted, inverted[chosen], atol=ATOL, rtol=0)


@every_prior
def test_null_labels_in_a_batch_equal_an_all_null_batch(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    null, is_null = torch.full_like(LABELS, NULL_CLASS), LABELS == NULL_CLASS
    mixed, all_null = answer(prior, latents, LABELS), answer(prior, latents, null)
    torch.testing.assert_close(mixed[is_null], all_null[is_null], atol=ATOL, rtol=0)
    assert torch.allclose(mixed[~is_null], all_null[~is_null]) == (not spec.takes_classes)


@every_flow
def test_null_labels_invert_as_an_all_null_batch(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    null, is_null = torch.full_like(LABELS, NULL_CLASS), LABELS == NULL_CLASS
    inverted, null_inverted = prior.inverse(latents, LABELS), prior.inverse(latents, null)
    torch.testing.assert_close(inverted[is_null], null_inverted[is_null], atol=ATOL, rtol=0)


@every_flow
def test_the_training_loss_is_the_nll_per_dimension_without_its_constant(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    z, logdet, _ = prior(latents, LABELS)
    expected = 0.5 * z.square().mean() - logdet.mean() / latents[0].numel()
    loss = prior.training_loss(latents, LABELS)
    torch.testing.assert_close(loss.loss.double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(loss.figures["nll"], loss.loss)


@every_flow
def test_log_prob_of_the_standard_normal_under_the_map(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    z, logdet, _ = prior(latents, LABELS)
    expected = logdet + torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(prior.log_prob(latents, LABELS), expected, atol=ATOL, rtol=0)


@every_prior
def test_every_parameter_gets_a_gradient_and_moves(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    prior.train()
    before = {name: parameter.detach().clone() for name, parameter in prior.named_parameters()}
    if not before:
        pytest.skip("fitted in closed form: no parameters")
    optimizer = torch.optim.SGD(prior.parameters(), lr=0.1)
    seeded_loss(prior, latents).loss.backward()
    still = [name for name, parameter in prior.named_parameters() if parameter.grad is None]
    still += [name for name, parameter in prior.named_parameters() if not parameter.grad.any()]
    assert not still, f"no gradient reaches {still}"
    optimizer.step()
    unmoved = [name for name, parameter in prior.named_parameters() if torch.equal(parameter, before[name])]
    assert not unmoved, f"one step does not move {unmoved}"


@every_prior
def test_noise_is_reproducible_and_standard_at_the_start(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, 1)
    noise = prior.noise(image_draws(500, 3))
    assert noise.shape == (500, *latents.shape[1:])
    assert noise.device.type == "cpu"
    assert torch.equal(noise, prior.noise(image_draws(500, 3)))
    assert not torch.equal(noise, prior.noise(image_draws(500, 4)))
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


@every_flow
def test_blocks_follow_each_other_to_what_the_whole_flow_gives(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    outputs = list(prior.by_block(latents, LABELS))
    whole = prior(latents, LABELS)
    assert torch.equal(outputs[-1].z, whole.z) and torch.equal(outputs[-1].logdet, whole.logdet)
    if isinstance(prior, AutoregressivePrior):
        assert len(outputs) == len(spec.blocks)
        built = {block.index: block for block in prior.blocks}
        entering = torch.stack([latents, *(output.z for output in outputs[:-1])])
        for index, (before, after) in enumerate(zip(entering, outputs, strict=True)):
            assert torch.equal(built[index](before, LABELS).z if index in built else before, after.z)


@every_prior
def test_taps_give_hidden_states_in_raster_order(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_example(spec, level, len(LABELS))
    untapped = seeded_loss(prior, latents)
    assert untapped.hidden is None
    for block, layers in enumerate(spec.depths):
        for layer in range(layers):
            tap = Tap(block=block, layer=layer)
            tapped = seeded_loss(prior, latents, tap)
            assert tapped.hidden.shape == (len(LABELS), spec.hidden_tokens(latent_for(spec)), spec.width_of(tap))
            assert torch.equal(tapped.loss, untapped.loss)
    assert bool(list(spec.tap_problems(Tap(block=0, layer=0)))) == (not spec.depths)
    for absent in (Tap(block=0, layer=9), Tap(block=9, layer=0)):
        assert list(spec.tap_problems(absent))
        with pytest.raises(AssertionError, match=r"PriorSpec\.tap_problems"):
            seeded_loss(prior, latents, absent)


@every_flow
def test_hidden_states_stand_where_their_tokens_do(spec: PriorSpec, level: float | None) -> None:
    prior, labels = tiny_prior(spec, latent_for(spec)), torch.tensor([1])
    if not isinstance(prior, AutoregressivePrior):
        pytest.skip("not autoregressive")
    for block in prior.blocks:
        jacobian = torch.autograd.functional.jacobian(
            lambda x, block=block: block(x, labels, 0, tensor_of(level)).hidden, tiny_latents(1, block.latent)
        )
        influence = jacobian.abs().amax((0, 2, 3, 5))  # (tokens, tokens)
        if block.reverse:
            influence = influence.flip(0, 1)
        seen = torch.ones_like(influence).tril(0 if block.start is None else -1)
        assert torch.equal(influence > 0, seen > 0)


@every_flow
def test_each_block_is_causal(spec: PriorSpec, level: float | None) -> None:
    prior = tiny_prior(spec, latent_for(spec))
    if not isinstance(prior, AutoregressivePrior):
        pytest.skip("not autoregressive")
    labels = torch.tensor([1])
    for block in prior.blocks:
        jacobian = torch.autograd.functional.jacobian(
            lambda x, block=block: block(x, labels, level=tensor_of(level)).z, tiny_latents(1, block.latent)
        ).squeeze((0, 3))  # (tokens, channels, tokens, channels)
        if block.reverse:
            jacobian = jacobian.flip(0, 2)
        influence = jacobian.abs().amax((1, 3))
        assert not influence.triu(1).any(), "a token depends on a later one"
        assert (influence > 0)[torch.ones_like(influence).tril() > 0].all(), "an earlier token is ignored"
        own = jacobian.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (tokens, channels, channels)
        diagonal = own.diagonal(dim1=1, dim2=2)
        assert torch.equal(own, diagonal.diag_embed()), "a token's map is not element-wise"
        assert (diagonal > 0).all()
