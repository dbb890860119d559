"""Checkpoints that a thread writes beside the training, and how often."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from mimflow.compute.processes import World
from mimflow.errors import StorageError
from mimflow.training import checkpoint
from mimflow.training.checkpoint import Checkpoint, Writer, newest
from mimflow.training.sharding import gathered


def of_step(step: int, tensor: torch.Tensor) -> Checkpoint:
    return Checkpoint("one", step, {"weights.a": tensor}, {})


def test_what_training_changes_meanwhile_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_write = threading.Event()
    write = checkpoint.save

    def save(folder: Path, written: Checkpoint) -> Path:
        assert may_write.wait(60)
        return write(folder, written)

    monkeypatch.setattr(checkpoint, "save", save)
    weights = {"weights.a": torch.zeros(3)}
    with Writer(tmp_path, None, shares_cores=True) as writer:
        writer.begin(Checkpoint("one", 1, gathered(weights, World()), {}))
        weights["weights.a"] += 1
        assert not writer.due
        may_write.set()
    found = newest(tmp_path, "one", pytest.fail)
    assert found is not None and found.tensors["weights.a"].tolist() == [0, 0, 0]


def test_a_disk_that_is_full_is_said_at_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(folder: Path, written: Checkpoint) -> Path:
        raise StorageError("no space")

    monkeypatch.setattr(checkpoint, "save", save)
    with Writer(tmp_path, 1e-9, shares_cores=True) as writer:
        writer.begin(of_step(1, torch.zeros(3)))
        with pytest.raises(StorageError, match="no space"):
            writer.finish()


def test_the_interval_follows_from_what_a_checkpoint_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 2 % of the time, two seconds of standing still are paid off in a hundred."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Writer(tmp_path, None, shares_cores=False) as writer:
        assert writer.interval == checkpoint.LEAST_SECONDS
        with writer.timed():
            now[0] += 2.0
        assert writer.interval == pytest.approx(100.0)
        now[0] += 99.0
        assert not writer.due
        now[0] += 2.0
        assert writer.due


def test_a_thread_on_the_same_cores_costs_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_save_timed", lambda folder, written: 3.0)
    intervals = []
    for shares in (True, False):
        with Writer(tmp_path, None, shares_cores=shares) as writer:
            writer.begin(of_step(1, torch.zeros(3)))
            writer.finish()
            intervals.append(writer.interval)
    assert intervals == [pytest.approx(150.0), checkpoint.LEAST_SECONDS]


def test_an_interval_that_a_spec_gives_is_kept(tmp_path: Path) -> None:
    with Writer(tmp_path, 1e-9, shares_cores=True) as writer:
        assert writer.interval == 1e-9 and writer.due
