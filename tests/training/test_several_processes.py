"""Trainings whose parts several processes share out: the arithmetic is one process's, and so are files and messages."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from several_processes import EVERY, Trial, break_at, task_of, tensors, together, train_one
from training_parts import SignalAt, results, rows

from mimflow.artifacts.manifest import Artifact
from mimflow.compute.processes import World
from mimflow.errors import DataError, Interrupted
from mimflow.objectives.registry import OBJECTIVES
from mimflow.training import loop

pytestmark = pytest.mark.slow

CLOSE = 1e-6
"""Relative difference of a tensor's norm: of weights, averages and running statistics."""
CLOSE_MOMENTS = 1e-3
"""Of the optimisers' moments, which are single gradients where weights are sums: rounding at a kink shows."""
DUEL = "joint, frozen encoder, LeCAM"
SKIPPING = "nll, skipping"
SHARDED = {"sharding": "full"}
OBJECTIVE = ["nll", "velocity", "cross entropy, batch norm", "joint", DUEL, "decoder against a discriminator"]
OBJECTIVE += ["autoencoder, adaptive weight"]
"""One or two settings of every objective."""
IN_SHARDS = ["volume preserving", "noise levels", "cross entropy, batch norm", DUEL, "autoencoder, adaptive weight"]
"""Whatever reads gradients or weights on the way, or keeps running statistics; the others take no path of their own."""


@pytest.fixture(scope="module")
def alone(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, trained by one process."""
    work = tmp_path_factory.mktemp("alone")
    for name in EVERY:
        train_one(name, data, work / name)
    return work


class Shared(NamedTuple):
    """What processes left of their trials: the folder of all, the exit code, what they said."""

    work: Path
    code: int
    said: str


@pytest.fixture(scope="module")
def two(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Trials by the same two processes, which take longer to start than a trial takes."""
    work = tmp_path_factory.mktemp("two")
    for folder in ("from one", "shards from one"):
        with pytest.raises(Interrupted):
            train_one(DUEL, data, work / folder, SignalAt(7))
    code, said = together(
        2,
        data,
        work,
        *(Trial(name, name) for name in EVERY),
        Trial(DUEL, "again"),
        *(Trial(name, f"shards/{name}", SHARDED) for name in IN_SHARDS),
        Trial(SKIPPING, "broken", break_at=6),
        Trial(SKIPPING, "broken shards", SHARDED, break_at=6),
        Trial(DUEL, "from one"),
        Trial(DUEL, "shards from one", SHARDED),
        Trial(DUEL, "stopped shards", SHARDED, stop_at=5),
        Trial(DUEL, "stopped", stop_at=7),
    )
    return Shared(work, code, said)


@pytest.fixture(scope="module")
def four(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Every objective by four processes, one of them twice, until an image is missing."""
    work = tmp_path_factory.mktemp("four")
    trials = [*(Trial(name, name) for name in OBJECTIVE), Trial(DUEL, "again"), Trial("nll", "failing", fail_at=3)]
    return Shared(work, *together(4, data, work, *trials))


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
    assert {EVERY[name]["objective"]["kind"] for name in OBJECTIVE} == kinds


@pytest.mark.parametrize(("count", "names"), [("two", list(EVERY)), ("four", OBJECTIVE)], ids=["two", "four"])
def test_processes_agree_and_the_same_number_of_them_in_every_bit(
    count: str, names: list[str], alone: Path, request: pytest.FixtureRequest
) -> None:
    """Players and averages included."""
    shared: Shared = request.getfixturevalue(count)
    assert (shared.work / "again/out").is_dir(), shared.said
    for name in names:
        assert_close(shared.work / name, alone / name)
    assert results(shared.work / DUEL) == results(shared.work / "again")


def test_a_checkpoint_of_two_goes_on_in_one(data: Artifact, two: Shared, alone: Path) -> None:
    """The signal reaches one of them, and not the first: all stop at the same step, and the first says so."""
    assert two.code == Interrupted.exit_code
    assert two.said.count("SIGTERM at step 7 of 20; the next run goes on from") == 1
    assert "Traceback" not in two.said
    goes_on_in_one(data, two.work / "stopped", alone, step=7)


def goes_on_in_one(data: Artifact, work: Path, alone: Path, step: int) -> None:
    stream = io.StringIO()
    train_one(DUEL, data, work, stream)
    assert f"going on from the checkpoint at step {step} of 20" in stream.getvalue()
    assert_close(work, alone / DUEL)


def test_a_checkpoint_of_one_goes_on_in_two(two: Shared, alone: Path) -> None:
    assert_close(two.work / "from one", alone / DUEL)


def test_sharded_models_agree(two: Shared, alone: Path) -> None:
    """Players that take turns, averages, and all that reads gradients or weights on the way."""
    for name in IN_SHARDS:
        assert_close(two.work / "shards" / name, alone / name)


def test_a_step_that_is_not_finite_in_one_process_is_skipped_by_all(
    data: Artifact, two: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, 6)
    train_one(SKIPPING, data, tmp_path / "one")
    assert_close(two.work / "broken", tmp_path / "one")
    assert_close(two.work / "broken shards", tmp_path / "one")
    assert [row["step"] for row in rows(tmp_path / "one") if not row["loss"]] == ["7"]


def test_a_checkpoint_of_shards_goes_on_in_one_and_the_other_way_round(
    data: Artifact, two: Shared, alone: Path
) -> None:
    assert two.said.count("SIGTERM at step 5 of 20; the next run goes on from") == 1
    goes_on_in_one(data, two.work / "stopped shards", alone, step=5)
    assert_close(two.work / "shards from one", alone / DUEL)


def test_shards_need_as_many_parts_each(data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "join", lambda device: World(0, 3))
    monkeypatch.setattr(loop, "is_sharded", lambda parameters: True)
    with pytest.raises(DataError, match=r"3 processes of a sharded model .* 4 parts .*accumulate: a multiple of 3"):
        train_one("nll", data, tmp_path)


@pytest.mark.fault("interruptions")
def test_a_process_that_fails_ends_all_with_its_own_message(four: Shared) -> None:
    assert four.code == DataError.exit_code
    assert "images.npy: an image is gone" in four.said
    assert "Traceback" not in four.said


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
