"""Running statistics of a turn that comes in parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimflow.compute.processes import World
from mimflow.training.running import RunningState

TRUE, FALSE = torch.tensor(True), torch.tensor(False)


class Counted(nn.Module):
    """A norm, a buffer that is replaced rather than changed, as LeCAM's averages are, and two that stay."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("shown", torch.tensor([True, False]))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.lerp(x.mean(), 0.5)
        return self.norm(x)


def turn(module: nn.Module, parts: list[Tensor], kept: Tensor = TRUE) -> None:
    running = RunningState(module, len(parts), World())
    for part in parts:
        module(part)
        running.end_part()
    running.end_turn(kept)


def test_a_turn_moves_them_by_the_mean_of_what_its_parts_did() -> None:
    module = Counted()
    turn(module, [torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[4.0, 2.0], [8.0, 2.0]])])
    # Batch means (2, 0) and (6, 2), unbiased variances (2, 0) and (8, 0), momentum 0.1 from 0 and 1.
    torch.testing.assert_close(module.norm.running_mean, torch.tensor([0.4, 0.1]))
    torch.testing.assert_close(module.norm.running_var, torch.tensor([1.4, 0.9]))
    assert module.norm.num_batches_tracked == 1
    # Means 1 and 4, halfway from 0: 0.5 and 2.
    torch.testing.assert_close(module.mean, torch.tensor(1.25))
    assert module.mask.tolist() == [0.0, -torch.inf] and module.shown.tolist() == [True, False]


def test_the_order_of_parts_does_not_matter() -> None:
    parts = list(torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0)))
    one, other = Counted(), Counted()
    turn(one, parts)
    turn(other, parts[::-1])
    torch.testing.assert_close(one.state_dict(), other.state_dict())


def test_one_part_moves_them_as_its_forward_pass_does() -> None:
    one, other = Counted(), Counted()
    batch = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    turn(one, [batch])
    other(batch)
    assert all(tensor.equal(other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_a_turn_that_is_not_kept_moves_nothing() -> None:
    for parts in (1, 2):
        module = Counted()
        turn(module, [torch.full((4, 2), torch.nan)] * parts, kept=FALSE)
        assert all(tensor.equal(Counted().state_dict()[name]) for name, tensor in module.state_dict().items())
