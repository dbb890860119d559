"""The learning rate over a phase: known answers."""

from __future__ import annotations

import math

import pytest

from mimflow.training.schedule import learning_rate_factor, warmup_steps
from mimflow.training.spec import Schedule


def shares(schedule: Schedule, total: int, steps_per_epoch: int = 5) -> list[float]:
    warmup = warmup_steps(schedule, steps_per_epoch)
    return [learning_rate_factor(schedule, step, total, warmup) for step in range(total)]


def test_constant_without_warmup_is_the_whole_rate() -> None:
    assert shares(Schedule(), 4) == [1.0, 1.0, 1.0, 1.0]


def test_warmup_is_linear_and_reaches_the_whole_rate_at_its_last_step() -> None:
    assert shares(Schedule(warmup_steps=4), 6) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_warmup_starts_from_its_initial_share() -> None:
    assert shares(Schedule(warmup_steps=2, initial=0.2), 3) == pytest.approx([0.6, 1.0, 1.0])


def test_warmup_in_epochs_counts_their_steps() -> None:
    assert warmup_steps(Schedule(warmup_epochs=1.5), 10) == 15
    assert warmup_steps(Schedule(warmup_steps=3), 10) == 3


def test_linear_decay() -> None:
    assert shares(Schedule(decay="linear"), 4) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_linear_decay_after_a_hold_down_to_its_final_share() -> None:
    schedule = Schedule(decay="linear", hold=0.5, final=0.2)
    assert shares(schedule, 8) == pytest.approx([1, 1, 1, 1, 1, 0.8, 0.6, 0.4])


def test_cosine_decay_follows_warmup() -> None:
    # 2 steps of warm-up, then half a cosine over 4.
    half = 0.5 * math.sqrt(2)
    expected = [0.5, 1.0, 1.0, (1 + half) / 2, 0.5, (1 - half) / 2]
    assert shares(Schedule(decay="cosine", warmup_steps=2), 6) == pytest.approx(expected)


def test_a_hold_shorter_than_the_warmup_changes_nothing() -> None:
    assert shares(Schedule(decay="cosine", warmup_steps=5, hold=0.1), 10) == shares(
        Schedule(decay="cosine", warmup_steps=5), 10
    )


@pytest.mark.parametrize("decay", ["constant", "cosine", "linear"])
def test_every_step_moves(decay: str) -> None:
    assert min(shares(Schedule(decay=decay, warmup_epochs=2.0), 40)) > 0  # type: ignore[arg-type]


def test_a_phase_shorter_than_its_warmup_only_warms_up() -> None:
    assert shares(Schedule(decay="cosine", warmup_steps=8), 2) == pytest.approx([1 / 8, 2 / 8])
