"""Averages of trained tensors: known answers."""

from __future__ import annotations

import torch
from torch import nn

from mimflow.training.ema import Ema


def parameters(value: float) -> dict[str, nn.Parameter]:
    return {"a": nn.Parameter(torch.full((2, 3), value)), "b": nn.Parameter(torch.full((4,), -value))}


def test_begins_at_the_parameters_and_closes_in_geometrically() -> None:
    trained = parameters(0.0)
    ema = Ema(trained, decay=0.9)
    with torch.no_grad():
        trained["a"].fill_(1.0)
        trained["b"].fill_(-2.0)
    for step in range(1, 6):
        ema.update()
        torch.testing.assert_close(ema.averages["a"], torch.full((2, 3), 1 - 0.9**step))
        torch.testing.assert_close(ema.averages["b"], torch.full((4,), -2 * (1 - 0.9**step)))


def test_one_step_is_the_textbook_formula() -> None:
    trained = parameters(3.0)
    ema = Ema(trained, decay=0.99)
    with torch.no_grad():
        trained["a"].fill_(5.0)
    ema.update()
    torch.testing.assert_close(ema.averages["a"], torch.full((2, 3), 0.99 * 3 + 0.01 * 5))
    torch.testing.assert_close(ema.averages["b"], torch.full((4,), -3.0))


def test_parameters_are_left_alone_and_averages_are_copies() -> None:
    trained = parameters(1.0)
    ema = Ema(trained, decay=0.5)
    ema.averages["a"].zero_()
    ema.update()
    assert trained["a"].eq(1.0).all()
    assert not ema.averages["a"].requires_grad


def test_load_takes_back_what_was_saved() -> None:
    ema = Ema(parameters(1.0), decay=0.5)
    saved = {name: torch.rand_like(average) for name, average in ema.averages.items()}
    ema.load(saved)
    assert all(ema.averages[name].equal(saved[name]) for name in saved)
