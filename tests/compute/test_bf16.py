"""Products of bf16 numbers where the processor has none: those of operands and results rounded to bf16."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.compute import bf16
from mimflow.compute.devices import autocast, full_precision
from mimflow.compute.spec import Compute
from mimflow.training.layers import prepare_layers

CPU = torch.device("cpu")
ULP = 2**-8
"""Of a bf16 number, relatively."""


@pytest.fixture(autouse=True)
def without_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16, "has_bf16_products", lambda: False)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), requires_grad=True)


PRODUCTS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "linear": (F.linear, [(5, 7), (3, 7), (3,)]),
    "bmm": (torch.bmm, [(2, 4, 3), (2, 3, 5)]),
    "baddbmm": (partial(torch.baddbmm, alpha=0.5), [(4, 5), (2, 4, 3), (2, 3, 5)]),
    "@": (Tensor.__matmul__, [(4, 3), (3, 5)]),
    "conv2d": (partial(F.conv2d, padding=1), [(2, 3, 4, 4), (5, 3, 3, 3), (5,)]),
    "conv_transpose2d": (partial(F.conv_transpose2d, stride=2, padding=1), [(2, 3, 4, 4), (3, 5, 4, 4), (5,)]),
    "attention": (F.scaled_dot_product_attention, [(1, 2, 4, 3)] * 3),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_those_of_rounded_operands(name: str) -> None:
    function, shapes = PRODUCTS[name]
    operands = [numbers(*shape) for shape in shapes]
    with autocast(CPU, "bf16"):
        found = function(*operands)
    assert found.dtype == torch.bfloat16
    exact = function(*(operand.detach().bfloat16().double() for operand in operands))
    torch.testing.assert_close(found.double(), exact, rtol=ULP, atol=1e-6)


@pytest.mark.parametrize("name", PRODUCTS)
def test_gradients_are_those_of_autocast(name: str) -> None:
    function, shapes = PRODUCTS[name]
    operands = [numbers(*shape) for shape in shapes]
    with autocast(CPU, "bf16"):
        found = torch.autograd.grad(function(*operands).float().square().sum(), operands)
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.autograd.grad(function(*operands).float().square().sum(), operands)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=8 * ULP, atol=8 * ULP * other.abs().max().item())


def test_what_autocast_leaves_alone_is_left_alone() -> None:
    x, weights = numbers(4, 3), numbers(2, 3)
    with autocast(CPU, "bf16"):
        torch.testing.assert_close(F.linear(x.double(), weights.double()), x.double() @ weights.double().T)
        with full_precision(CPU):
            assert torch.equal(F.linear(x, weights), x @ weights.T)
    with autocast(CPU, "fp32"):
        assert torch.equal(F.linear(x, weights), x @ weights.T)


class Layer(nn.Linear):
    """A layer of our own, as `prepare_layers` looks for."""


def test_a_layer_that_is_computed_again_is_computed_alike() -> None:
    system, x = nn.Sequential(nn.ModuleList([Layer(4, 4)])), numbers(3, 4)
    (layer,) = system[0]
    gradients = []
    for compute in (Compute(), Compute(activation_checkpointing=True)):
        prepare_layers(system, compute)
        with autocast(CPU, "bf16"):
            loss = layer(x).float().square().sum()
        gradients.append(torch.autograd.grad(loss, (x, *layer.parameters())))
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
