"""The shared building blocks."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mimflow.nn.affine import Affine
from mimflow.nn.modes import evaluating
from mimflow.nn.patchify import patchify, unpatchify
from mimflow.nn.transformer import Transformer, causal_attention


def test_patch_features_run_channel_row_column() -> None:
    image = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    tokens = patchify(image, 2)
    assert tokens.shape == (1, 6, 8)
    assert tokens[0, 1].tolist() == [2, 3, 8, 9, 26, 27, 32, 33]
    unfolded = F.unfold(image.float(), kernel_size=2, stride=2).transpose(1, 2)
    assert torch.equal(tokens.float(), unfolded)
    assert torch.equal(unpatchify(tokens, 2, (2, 3)), image)


def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(width=12, layers=2, head_width=4, expansion=2).double()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_steps_equal_the_parallel_pass(temperature: float) -> None:
    network, h = transformer(), torch.randn(3, 5, 12, dtype=torch.float64)
    expected = network(h, temperature)
    cache = network.new_cache(batch=3, tokens=5)
    with torch.no_grad():
        steps = torch.stack([network.step(h[:, t], cache, temperature) for t in range(5)], dim=1)
    assert cache.length == 5
    torch.testing.assert_close(steps, expected, atol=1e-12, rtol=0)


def test_temperature_changes_attention_and_may_differ_by_sample() -> None:
    network, h = transformer(), torch.randn(2, 5, 12, dtype=torch.float64)
    cold, warm = network(h, 1.0), network(h, 2.5)
    torch.testing.assert_close(cold[:, 0], warm[:, 0])  # one token to attend to: nothing to weigh
    assert (cold[:, 1:] - warm[:, 1:]).abs().max() > 1e-4
    cache = network.new_cache(batch=2, tokens=5)
    temperatures = torch.tensor([1.0, 2.5], dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        steps = torch.stack([network.step(h[:, t], cache, temperatures) for t in range(5)], dim=1)
    torch.testing.assert_close(steps, torch.stack([cold[0], warm[1]]), atol=1e-12, rtol=0)


def test_a_cache_past_its_tokens_is_an_error() -> None:
    network = transformer()
    cache = network.new_cache(batch=1, tokens=1)
    with torch.no_grad():
        network.step(torch.zeros(1, 12, dtype=torch.float64), cache)
        with pytest.raises(IndexError):
            network.step(torch.zeros(1, 12, dtype=torch.float64), cache)


@pytest.mark.parametrize("tokens", [16, 600])
def test_half_precision_attention_agrees_with_single(tokens: int) -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 1, 2, tokens, 8).unbind(0)
    single = causal_attention(queries, keys, values, 0.3)
    half = causal_attention(queries.bfloat16(), keys.bfloat16(), values.bfloat16(), 0.3)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), single, atol=0.03, rtol=0)
    torch.testing.assert_close(single[:, :, 0], values[:, :, 0])


def test_steps_run_under_bf16_autocast() -> None:
    network, h = transformer().float(), torch.randn(2, 5, 12)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = network(h)
        cache = network.new_cache(batch=2, tokens=5)
        steps = torch.stack([network.step(h[:, t], cache) for t in range(5)], dim=1)
    torch.testing.assert_close(steps, expected, atol=0.02, rtol=0)


def test_affine_known_answer() -> None:
    affine = Affine(shift=torch.tensor([[[1.0, 2.0]]]), log_scale=torch.tensor([[[0.0, 2.0]]]).log1p())
    u = torch.tensor([[[4.0, 8.0]]])
    torch.testing.assert_close(affine.normalise(u), torch.tensor([[[3.0, 2.0]]]))
    torch.testing.assert_close(affine.denormalise(affine.normalise(u)), u)
    torch.testing.assert_close(affine.logdet(), -torch.tensor([3.0]).log())


def test_affine_takes_the_exponential_in_single_precision() -> None:
    half = Affine(torch.zeros(1, 1, 1).bfloat16(), torch.full((1, 1, 1), 0.4).bfloat16())
    z = half.normalise(torch.ones(1, 1, 1))
    torch.testing.assert_close(z, (-half.log_scale.float()).exp(), rtol=1e-6, atol=0)


def test_evaluating_puts_everything_back_even_after_an_error() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(), torch.nn.Linear(2, 2))
    network[1].eval()
    network[0].weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    needs = [parameter.requires_grad for parameter in network.parameters()]
    with pytest.raises(RuntimeError, match="inside"), evaluating(network):
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        raise RuntimeError("inside")
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == needs
