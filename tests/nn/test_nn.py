"""The shared building blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from parts import at_temperature
from torch import Tensor

from mimflow.nn.affine import Affine
from mimflow.nn.attention import attention
from mimflow.nn.modes import evaluating
from mimflow.nn.modulation import Modulation, modulate
from mimflow.nn.norm import make_norm
from mimflow.nn.patchify import group_tokens, patchify, ungroup_tokens, unpatchify
from mimflow.nn.prepared import prepared_linear
from mimflow.nn.rotary import grid_rotation, rotate
from mimflow.nn.stepper import Stepper
from mimflow.nn.transformer import SelfAttention, Transformer, TransformerOptions


def test_patch_features_run_channel_row_column() -> None:
    image = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    tokens = patchify(image, 2)
    assert tokens[0, 1].tolist() == [2, 3, 8, 9, 26, 27, 32, 33]
    in_a_loop = [
        [int(image[0, c, 2 * row + y, 2 * column + x]) for c in range(2) for y in range(2) for x in range(2)]
        for row in range(2)
        for column in range(3)
    ]
    assert tokens[0].tolist() == in_a_loop
    assert torch.equal(unpatchify(tokens, 2, (2, 3)), image)


def test_groups_of_tokens_have_the_order_of_patches() -> None:
    image = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    tokens = image.flatten(2).transpose(1, 2)
    assert torch.equal(group_tokens(tokens, 2, (4, 6)), patchify(image, 2))
    assert torch.equal(ungroup_tokens(patchify(image, 2), 2, (4, 6)), tokens)


@pytest.mark.parametrize("channels", [1, 2])
def test_patches_and_their_gradients_are_in_raster_order(channels: int) -> None:
    pixels = torch.randn(2, 6, 4 * channels, requires_grad=True)
    images = unpatchify(pixels, 2, (2, 3))
    # Of one channel `is_contiguous` says nothing about its stride, and convolutions look at that.
    assert images.stride() == (24 * channels, 24, 6, 1)
    (gradient,) = torch.autograd.grad(images.square().sum(), pixels)
    assert all(tensor.is_contiguous() for tensor in (images, patchify(images, 2), gradient))


def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerOptions(width=12, head_width=4, expansion=2), layers=2).double()


def whole(network: Transformer, h: Tensor, temperature: float = 1.0) -> Tensor:
    """The last layer's outputs in one parallel pass."""
    *_, last = at_temperature(network, temperature).layer_outputs(h)
    return last


Way = Callable[..., Tensor]


def stepped(network: Transformer, h: Tensor, static: bool = False, **options: Any) -> Tensor:
    """All tokens (B, T, width), one at a time."""
    with torch.no_grad():
        step = Stepper(network, len(h), h.shape[1], static=static, rotation=options.pop("rotation", None))
        step.begin(**options)
        return torch.stack([step(h[:, t].clone()).clone() for t in range(h.shape[1])], dim=1)


def extended(network: Transformer, h: Tensor, modulations: Any = None, **options: Any) -> Tensor:
    """All tokens, two at a time; what is given is, as for steps, without an axis for tokens."""
    if modulations is not None:
        modulations = [tuple(vector[:, None] for vector in vectors) for vectors in modulations]
    cache, parts = network.new_cache(len(h), h.shape[1]), []
    with torch.no_grad():
        for part in h.split(2, dim=1):
            network.extend(part + 1, cache, **options)  # not kept: asked again
            parts.append(network.extend(part, cache, modulations=modulations, **options))
            cache.advance(part.shape[1])
    assert cache.length == h.shape[1]
    return torch.cat(parts, dim=1)


every_way = pytest.mark.parametrize(
    "way", [stepped, partial(stepped, static=True), extended], ids=["steps", "static steps", "parts"]
)


@every_way
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("tokens", [5, 96, 101], ids=["few", "whole segments", "and a part of one"])
def test_steps_and_parts_equal_the_parallel_pass(tokens: int, temperature: float, way: Way) -> None:
    network, h = transformer(), torch.randn(3, tokens, 12, dtype=torch.float64)
    torch.testing.assert_close(
        way(network, h, temperature=temperature), whole(network, h, temperature), atol=1e-12, rtol=0
    )


@every_way
def test_temperature_changes_attention_and_may_differ_by_sample(way: Way) -> None:
    network, h = transformer(), torch.randn(2, 5, 12, dtype=torch.float64)
    cold, warm = whole(network, h), whole(network, h, 2.5)
    torch.testing.assert_close(cold[:, 0], warm[:, 0])  # one token to attend to: nothing to weigh
    assert (cold[:, 1:] - warm[:, 1:]).abs().max() > 1e-4
    temperatures = torch.tensor([1.0, 2.5], dtype=torch.float64)[:, None, None]
    both = way(network, h, temperature=temperatures)
    torch.testing.assert_close(both, torch.stack([cold[0], warm[1]]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("tokens", [5, 101])
def test_a_sequence_knows_nothing_of_the_one_before(tokens: int, static: bool) -> None:
    """Not of its numbers, some of which are not finite, nor of its conditions, whose memory captured steps read."""
    network = transformer()
    first, second = torch.randn(2, 3, tokens, 12, dtype=torch.float64)
    first[1, 2] = torch.nan
    warm, cold = (torch.full((3, 1, 1), temperature, dtype=torch.float64) for temperature in (2.5, 0.6))
    step = Stepper(network, len(first), tokens, static=static)
    step.begin(warm)
    read = step._layers[0].cooling
    with torch.no_grad():
        for t in range(tokens - 1):
            step(first[:, t].clone())
        step.begin(cold)
        again = torch.stack([step(second[:, t].clone()).clone() for t in range(tokens)], dim=1)
    assert step._layers[0].cooling is read
    assert torch.equal(again, stepped(network, second, static, temperature=cold))


@pytest.mark.parametrize("tokens", [1, 96, 101])
def test_a_step_past_the_tokens_is_an_error(tokens: int) -> None:
    step = Stepper(transformer(), batch=1, tokens=tokens)
    with torch.no_grad():
        for _ in range(tokens):
            step(torch.zeros(1, 12, dtype=torch.float64))
        with pytest.raises(IndexError):
            step(torch.zeros(1, 12, dtype=torch.float64))


@pytest.mark.parametrize("width", [64, 512])
def test_steps_in_single_precision_are_near_those_in_double(width: int) -> None:
    """Narrow weights are transposed, and wide ones reordered."""
    torch.manual_seed(0)
    network = Transformer(TransformerOptions(width, 32, expansion=2), layers=2)
    h = torch.randn(4, 6, width)
    single = stepped(network, h)
    torch.testing.assert_close(single.double(), whole(network.double(), h.double()), atol=2e-5, rtol=0)


@pytest.mark.parametrize("outputs", [8, 700])
@pytest.mark.parametrize("bias", [True, False])
def test_a_prepared_map_is_the_linear_map(outputs: int, bias: bool) -> None:
    linear, x = torch.nn.Linear(400, outputs, bias=bias), torch.randn(3, 400)
    prepared = prepared_linear(linear.weight, linear.bias, 3, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(prepared(x).double(), linear.double()(x.double()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("tokens", [16, 600])
def test_half_precision_attention_agrees_with_single(tokens: int, causal: bool) -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 1, 2, tokens, 8).unbind(0)
    single = attention(queries, keys, values, 0.3, causal=causal)
    half = attention(queries.bfloat16(), keys.bfloat16(), values.bfloat16(), 0.3, causal=causal)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), single, atol=0.03, rtol=0)
    weights = (0.3 * queries @ keys.transpose(2, 3))[:, :, 0].softmax(-1)
    first = values[:, :, 0] if causal else (weights[:, :, None] @ values)[:, :, 0]
    torch.testing.assert_close(single[:, :, 0], first)


@every_way
def test_steps_run_under_bf16_autocast(way: Way) -> None:
    network, h = transformer().float(), torch.randn(2, 5, 12)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = whole(network, h)
        torch.testing.assert_close(way(network, h), expected, atol=0.02, rtol=0)


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


def test_rotary_products_depend_on_the_offset_in_rows_and_columns_alone() -> None:
    query, key = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)).unbind(0)
    rotation = grid_rotation((4, 5), 16)
    products = rotate(query.expand(20, 16), rotation) @ rotate(key.expand(20, 16), rotation).T
    products = products.view(4, 5, 4, 5)  # row and column of the query, then of the key
    torch.testing.assert_close(products[1:, :, 1:], products[:-1, :, :-1])
    torch.testing.assert_close(products[:, 1:, :, 1:], products[:, :-1, :, :-1])
    assert products[0, 0].flatten().unique().numel() == 20


def test_rotary_known_answers() -> None:
    h = torch.tensor([1.0, 0.0]).repeat(4)  # four pairs: two turn with the row, two with the column
    turned = rotate(h.expand(6, 8), grid_rotation((2, 3), 8)).view(6, 4, 2)
    angles = torch.atan2(turned[..., 1], turned[..., 0])
    expected = [[row, row / 100, column, column / 100] for row in range(2) for column in range(3)]
    torch.testing.assert_close(angles, torch.tensor(expected))
    spared = grid_rotation((2, 3), 16, spare=4)
    torch.testing.assert_close(torch.atan2(spared[..., 1], spared[..., 0])[:, :4], torch.tensor(expected))
    assert torch.equal(spared[:, 4:], torch.tensor([1.0, 0.0]).expand(6, 4, 2))
    finer = grid_rotation((4, 9), 8, side=3.0)  # twice as many a side: half the step
    torch.testing.assert_close(torch.atan2(finer[..., 1], finer[..., 0])[21], torch.tensor([1.0, 0.01, 1.5, 0.015]))


@every_way
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_steps_equal_the_parallel_pass_with_everything_on(temperature: float, way: Way) -> None:
    torch.manual_seed(0)
    network = Transformer(TransformerOptions(16, 8, 2, norm="rms", gated=True, modulated=True), layers=2).double()
    for layer in network.layers:
        torch.nn.init.normal_(layer.modulation.linear.weight, std=0.3)
    h, condition = torch.randn(3, 6, 16).double(), torch.randn(3, 16).double()
    rotation = grid_rotation((2, 3), 8).double()
    parallel = network.modulations(condition[:, None])
    *_, expected = at_temperature(network, temperature).layer_outputs(h, parallel, rotation)
    with torch.no_grad():
        modulations = network.modulations(condition)
    outputs = way(network, h, temperature=temperature, modulations=modulations, rotation=rotation)
    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=0)
    *_, unturned = at_temperature(network, temperature).layer_outputs(h, parallel)
    opposite = network.modulations(-condition[:, None])
    *_, others = at_temperature(network, temperature).layer_outputs(h, opposite, rotation)
    assert (unturned - expected).abs().max() > 1e-3
    assert (others - expected).abs().max() > 1e-3


def test_a_shut_gate_leaves_the_output_bias() -> None:
    attention = SelfAttention(TransformerOptions(width=8, head_width=4, expansion=2, gated=True))
    torch.nn.init.constant_(attention.gate.weight, -1e4)
    torch.testing.assert_close(attention(1 + torch.rand(2, 3, 8)), attention.out.bias.expand(2, 3, 8))


def test_a_gate_stands_between_the_heads_and_their_projection() -> None:
    """One head over one token attends to its value alone: out(W_v h ⊙ sigmoid(W_g h))."""
    attention = SelfAttention(TransformerOptions(width=8, head_width=8, expansion=2, gated=True)).double()
    h = torch.randn(3, 1, 8).double()
    value = h @ attention.qkv.weight[16:].T + attention.qkv.bias[16:]
    gated = value / (1 + torch.exp(-h @ attention.gate.weight.T))
    torch.testing.assert_close(attention(h), gated @ attention.out.weight.T + attention.out.bias)


def test_modulation_starts_at_zero_and_scales_about_one() -> None:
    condition, h = torch.randn(3, 8), torch.randn(3, 8)
    shift, scale = Modulation(8, 2)(condition)
    assert torch.equal(modulate(h, shift, scale), h)
    assert modulate(torch.tensor([2.0]), torch.tensor([0.5]), torch.tensor([0.1])).item() == pytest.approx(2.7)


def test_norms_known_answers() -> None:
    h = torch.tensor([[1.0, 2.0, 2.0, 4.0]])
    torch.testing.assert_close(make_norm("rms", 4)(h), h / 2.5)
    torch.testing.assert_close(make_norm("layer", 4)(h), (h - 2.25) / h.std(correction=0), rtol=1e-4, atol=0)
    assert not list(make_norm("rms", 4, affine=False).parameters())
    assert not list(make_norm("layer", 4, affine=False).parameters())
