"""What every registered prior must do."""

from __future__ import annotations

import pytest
import torch
from parts import (
    PRIOR_EXAMPLES,
    flattened,
    label_of,
    latent_for,
    levels_of,
    missing_examples,
    tiny_flow,
    tiny_latents,
    tiny_prior,
)

from mimflow.errors import SpecError
from mimflow.priors.autoregressive import AutoregressivePrior
from mimflow.priors.base import NULL_CLASS, Tap
from mimflow.priors.registry import PRIORS
from mimflow.priors.spec import PriorSpec

LABELS = torch.tensor([0, 2, NULL_CLASS, 1, NULL_CLASS])
ATOL = 1e-9

every_prior = pytest.mark.parametrize(
    ("spec", "level"),
    [
        pytest.param(spec, level, id=label_of(spec) + (f"-{level}" if level is not None else ""))
        for spec in flattened(PRIOR_EXAMPLES)
        for level in levels_of(spec)
    ],
)


def tensor_of(level: float | None) -> torch.Tensor | None:
    """Of one sample."""
    return None if level is None else torch.tensor([level], dtype=torch.float64)


def test_every_kind_has_an_example() -> None:
    missing = missing_examples(PRIORS, PRIOR_EXAMPLES)
    assert not missing, f"add a tiny example of {missing} to PRIOR_EXAMPLES in tests/parts.py"


@every_prior
def test_round_trip(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, len(LABELS))
    z, logdet, _ = prior(latents, LABELS)
    assert z.shape == latents.shape
    assert logdet.shape == (len(LABELS),)
    assert (z - latents).abs().max() > 0.1
    torch.testing.assert_close(prior.inverse(z, LABELS), latents, atol=ATOL, rtol=0)


@every_prior
def test_inverse_is_the_fixed_point_of_the_parallel_pass(spec: PriorSpec, level: float | None) -> None:
    prior, z = tiny_flow(spec, level, len(LABELS))
    torch.testing.assert_close(prior(prior.inverse(z, LABELS), LABELS).z, z, atol=ATOL, rtol=0)


@every_prior
def test_logdet_is_that_of_the_jacobian(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, len(LABELS))
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
    prior, latents = tiny_flow(spec, level, len(LABELS))
    together = prior(latents, LABELS)
    inverted = prior.inverse(latents, LABELS)
    for index in range(len(LABELS)):
        chosen = slice(index, index + 1)
        alone = prior(latents[chosen], LABELS[chosen])
        torch.testing.assert_close(alone.z, together.z[chosen], atol=ATOL, rtol=0)
        torch.testing.assert_close(alone.logdet, together.logdet[chosen], atol=ATOL, rtol=0)
        alone_inverted = prior.inverse(latents[chosen], LABELS[chosen])
        torch.testing.assert_close(alone_inverted, inverted[chosen], atol=ATOL, rtol=0)


@every_prior
def test_null_labels_in_a_batch_equal_an_all_null_batch(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, len(LABELS))
    null, is_null = torch.full_like(LABELS, NULL_CLASS), LABELS == NULL_CLASS
    mixed, all_null = prior(latents, LABELS), prior(latents, null)
    torch.testing.assert_close(mixed.z[is_null], all_null.z[is_null], atol=ATOL, rtol=0)
    inverted, null_inverted = prior.inverse(latents, LABELS), prior.inverse(latents, null)
    torch.testing.assert_close(inverted[is_null], null_inverted[is_null], atol=ATOL, rtol=0)
    assert torch.allclose(mixed.z[~is_null], all_null.z[~is_null]) == (not spec.takes_classes)


@every_prior
def test_log_prob_of_the_standard_normal_under_the_map(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, len(LABELS))
    z, logdet, _ = prior(latents, LABELS)
    expected = logdet + torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(prior.log_prob(latents, LABELS), expected, atol=ATOL, rtol=0)


@every_prior
def test_every_parameter_gets_a_gradient_and_moves(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, len(LABELS))
    prior.train()
    before = {name: parameter.detach().clone() for name, parameter in prior.named_parameters()}
    if not before:
        pytest.skip("fitted in closed form: no parameters")
    optimizer = torch.optim.SGD(prior.parameters(), lr=0.1)
    (-prior.log_prob(latents, LABELS).mean()).backward()
    still = [name for name, parameter in prior.named_parameters() if parameter.grad is None]
    still += [name for name, parameter in prior.named_parameters() if not parameter.grad.any()]
    assert not still, f"no gradient reaches {still}"
    optimizer.step()
    unmoved = [name for name, parameter in prior.named_parameters() if torch.equal(parameter, before[name])]
    assert not unmoved, f"one step does not move {unmoved}"


@every_prior
def test_noise_is_reproducible_and_standard_at_the_start(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, 1)
    noise = prior.noise(500, torch.Generator().manual_seed(3))
    assert noise.shape == (500, *latents.shape[1:])
    assert noise.device.type == "cpu"
    assert torch.equal(noise, prior.noise(500, torch.Generator().manual_seed(3)))
    assert not torch.equal(noise, prior.noise(500, torch.Generator().manual_seed(4)))
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


@every_prior
def test_taps_give_hidden_states_in_raster_order(spec: PriorSpec, level: float | None) -> None:
    prior, latents = tiny_flow(spec, level, len(LABELS))
    output = prior(latents, LABELS)
    assert output.hidden is None
    for block, layers in enumerate(spec.depths):
        for layer in range(layers):
            tap = Tap(block=block, layer=layer)
            tapped = prior(latents, LABELS, tap)
            assert tapped.hidden.shape == (len(LABELS), latents.shape[1], spec.width_of(tap))
            assert torch.equal(tapped.z, output.z)
    assert bool(list(spec.tap_problems(Tap(block=0, layer=0)))) == (not spec.depths)
    for absent in (Tap(block=0, layer=9), Tap(block=9, layer=0)):
        assert list(spec.tap_problems(absent))
        with pytest.raises(SpecError, match=r"^tap: .* no layer"):
            prior(latents, LABELS, absent)


@every_prior
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


@every_prior
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
