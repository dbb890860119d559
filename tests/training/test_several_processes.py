"""Trainings whose parts several processes share out: the arithmetic is one process's, and so are files and messages."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from several_processes import EVERY, break_at, task_of, tensors, together, train_one
from training_parts import SignalAt, results, rows

from mimflow.artifacts.manifest import Artifact
from mimflow.compute.processes import World
from mimflow.errors import DataError, Interrupted
from mimflow.objectives.base import Objective
from mimflow.objectives.registry import OBJECTIVES
from mimflow.training import loop

pytestmark = pytest.mark.slow

CLOSE = 1e-6
"""Relative difference of a tensor's norm: of weights, averages and running statistics."""
CLOSE_MOMENTS = 1e-3
"""Of the optimisers' moments, which are single gradients where weights are sums: rounding at a kink shows."""
DUEL = "joint, frozen encoder, LeCAM"
SHARDED = '{"sharding": "full"}'
IN_SHARDS = ["volume preserving", "noise levels", "cross entropy, batch norm", DUEL, "autoencoder, adaptive weight"]
"""Whatever reads gradients or weights on the way, or keeps running statistics; the others take no path of their own."""


@pytest.fixture(scope="module")
def alone(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, trained by one process."""
    work = tmp_path_factory.mktemp("alone")
    for name in EVERY:
        train_one(name, data, work / name)
    return work


def assert_close(found: Path, wanted: Path) -> None:
    """That two trainings ended alike, up to the order of sums."""
    expected, given = tensors(wanted), tensors(found)
    assert given.keys() == expected.keys()
    for name, tensor in expected.items():
        difference = (given[name].double() - tensor.double()).norm()
        relative, absolute = (CLOSE_MOMENTS, 1e-7) if name.startswith("optimiser") else (CLOSE, 1e-9)
        assert difference <= relative * tensor.double().norm() + absolute, f"{found.name}: {name}: {difference:.3g}"
    for row, other in zip(rows(found), rows(wanted), strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            if value or other[name]:
                assert float(value) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-6), f"{found.name}: {name}"


def test_every_objective_of_steps_is_here() -> None:
    kinds = {kind for kind in OBJECTIVES if not OBJECTIVES.spec(kind).closed_form}
    assert {setting["objective"]["kind"] for setting in EVERY.values()} == kinds


@pytest.mark.parametrize("count", [2, 4])
def test_processes_agree_and_the_same_number_of_them_in_every_bit(
    count: int, data: Artifact, alone: Path, tmp_path: Path
) -> None:
    """Players and averages included."""
    assert together(count, data, tmp_path, "--twice", DUEL) == 0
    for name in EVERY:
        assert_close(tmp_path / name, alone / name)
    assert results(tmp_path / DUEL) == results(tmp_path / "again")


def test_a_checkpoint_of_two_goes_on_in_one(
    data: Artifact, alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The signal reaches one of them, and not the first: all stop at the same step, and the first says so."""
    assert together(2, data, tmp_path, "--only", DUEL, "--stop-at", "7") == Interrupted.exit_code
    said = capfd.readouterr().err
    assert said.count("SIGTERM at step 7 of 20; the next run goes on from") == 1
    assert "Traceback" not in said
    stream = io.StringIO()
    train_one(DUEL, data, tmp_path / DUEL, stream)
    assert "going on from the checkpoint at step 7 of 20" in stream.getvalue()
    assert_close(tmp_path / DUEL, alone / DUEL)


def test_a_checkpoint_of_one_goes_on_in_two(data: Artifact, alone: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train_one(DUEL, data, tmp_path / DUEL, SignalAt(7))
    assert together(2, data, tmp_path, "--only", DUEL) == 0
    assert_close(tmp_path / DUEL, alone / DUEL)


def test_sharded_models_agree(data: Artifact, alone: Path, tmp_path: Path) -> None:
    """Players that take turns, averages, and all that reads gradients or weights on the way."""
    only = [option for name in IN_SHARDS for option in ("--only", name)]
    assert together(2, data, tmp_path, "--compute", SHARDED, *only) == 0
    for name in IN_SHARDS:
        assert_close(tmp_path / name, alone / name)


def test_a_step_that_is_not_finite_in_one_process_is_skipped_by_all(
    data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "nll, skipping"
    assert together(2, data, tmp_path / "two", "--only", name, "--break-at", "6") == 0
    assert together(2, data, tmp_path / "shards", "--only", name, "--break-at", "6", "--compute", SHARDED) == 0
    monkeypatch.setattr(Objective, "forward", Objective.forward)  # put back
    break_at(6)
    train_one(name, data, tmp_path / "one")
    assert_close(tmp_path / "two" / name, tmp_path / "one")
    assert_close(tmp_path / "shards" / name, tmp_path / "one")
    assert [row["step"] for row in rows(tmp_path / "one") if not row["loss"]] == ["7"]


def test_a_checkpoint_of_shards_goes_on_in_one_and_the_other_way_round(
    data: Artifact, alone: Path, tmp_path: Path
) -> None:
    stopped = together(2, data, tmp_path, "--only", DUEL, "--compute", SHARDED, "--stop-at", "5")
    assert stopped == Interrupted.exit_code
    with pytest.raises(Interrupted):
        train_one(DUEL, data, tmp_path / DUEL, SignalAt(12))
    assert together(2, data, tmp_path, "--only", DUEL, "--compute", SHARDED) == 0
    assert_close(tmp_path / DUEL, alone / DUEL)


def test_shards_need_as_many_parts_each(data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "join", lambda device: World(0, 3))
    monkeypatch.setattr(loop, "is_sharded", lambda parameters: True)
    with pytest.raises(DataError, match=r"3 processes of a sharded model .* 4 parts .*accumulate: a multiple of 3"):
        train_one("nll", data, tmp_path)


@pytest.mark.fault("interruptions")
def test_a_process_that_fails_ends_all_with_its_own_message(
    data: Artifact, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert together(2, data, tmp_path, "--only", "nll", "--fail-at", "3") == DataError.exit_code
    said = capfd.readouterr().err
    assert "images.npy: an image is gone" in said
    assert "Traceback" not in said


def test_more_processes_than_parts_are_refused(data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "join", lambda device: World(0, 5))
    with pytest.raises(DataError, match=r"phase 'main': 5 processes, and a step has 4 parts .*accumulate: 5 or more"):
        train_one("nll", data, tmp_path)


CHANGES: list[dict[str, Any]] = [
    {},
    {"devices": 4},
    {"sharding": "full"},
    {"activation_checkpointing": True},
    {"compile": True},
]


def test_how_many_there_are_and_what_they_keep_is_no_part_of_the_key() -> None:
    keys = {task_of("nll", compute).key({}) for compute in CHANGES}
    assert len(keys) == 1
