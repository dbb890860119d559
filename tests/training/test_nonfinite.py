"""Steps that are not finite and are to be skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_parts import interrupt, results, tiny_task, train_tiny

from mimflow.artifacts.manifest import Artifact
from mimflow.errors import NotFiniteError
from mimflow.objectives.base import Objective
from mimflow.training import watch

pytestmark = [pytest.mark.slow, pytest.mark.fault("not finite")]


def break_steps(patch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """The loss of these steps, counted from 0, is NaN, and so are its gradients."""

    def forward(self: Objective, *arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, figures = self.loss(*arguments)
        return (loss * torch.nan if self.training and self.step in steps else loss), figures

    patch.setattr(Objective, "forward", forward)


def test_a_skipped_step_changes_nothing(data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps but the first are broken: what is left is a training of one step, with the other's learning rates."""
    constant = {"on_nonfinite": "skip", "schedule": {}, "ema": None, "snapshots": []}
    one = train_tiny(tiny_task(**constant | {"steps": 1, "epochs": None}), data, tmp_path / "one")
    break_steps(monkeypatch, set(range(1, 16)))
    facts = train_tiny(tiny_task(**constant), data, tmp_path / "broken")
    assert (one.skipped, facts.skipped, facts.steps) == (0, 15, 16)
    wanted, found = (results(tmp_path / name)["weights.safetensors"] for name in ("one", "broken"))
    assert found == wanted


def test_skipped_steps_are_counted_over_interruptions(
    data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_steps(monkeypatch, {2, 9})
    skip = {"on_nonfinite": "skip"}
    whole = train_tiny(tiny_task(**skip), data, tmp_path / "whole")
    interrupt(data, tmp_path / "parts", 5, **skip)
    parts = train_tiny(tiny_task(**skip), data, tmp_path / "parts")
    assert whole.skipped == parts.skipped == 2
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_too_many_in_a_row_end_the_training(data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_SKIPPED", 3)
    break_steps(monkeypatch, {1, 2, 3, 5, 6, 7, 8})
    with pytest.raises(NotFiniteError, match=r"at step 9 of 16, as 3 steps before it"):
        train_tiny(tiny_task(on_nonfinite="skip"), data, tmp_path)
