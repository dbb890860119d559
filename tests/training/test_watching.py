"""What those who watch a training see: the log as it grows, validations on the way, dashboards."""

from __future__ import annotations

import io
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training_parts import SignalAt, interrupt, results, rows, tiny_task, train_tiny

from mimflow.artifacts.log import read_growing
from mimflow.artifacts.manifest import Artifact
from mimflow.compute.spec import Compute
from mimflow.errors import Interrupted, PlanError
from mimflow.progress import Progress
from mimflow.stages import train
from mimflow.tasks import TrainTask
from mimflow.training.log import TrainingLog
from mimflow.training.validation import validate

PLACE = "mimflow.training.loop.validate"
QUICK: dict[str, Any] = {"snapshots": [], "ema": None, "checkpoint_seconds": 3600.0}


@pytest.fixture
def every_step_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows a phase, and one by time after every step between them."""
    monkeypatch.setattr("mimflow.training.log.ROWS", 4)
    monkeypatch.setattr("mimflow.training.live.SILENT", 0.0)


def kept(work: Path) -> list[dict[str, float]]:
    """The rows of the log that grew which the finished one is to have."""
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "kept")}
        for row in read_growing(work / "log.csv")
        if row["kept"]
    ]


def finished(work: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items() if value} for row in rows(work)]


@pytest.fixture(scope="module")
def every_step(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with a row for each of its sixteen steps."""
    work = tmp_path_factory.mktemp("every-step")
    train_tiny(tiny_task(**QUICK), data, work)
    return work


@pytest.mark.slow
def test_the_log_grows_by_rows_of_steps_and_by_rows_by_time(
    data: Artifact, every_step: Path, tmp_path: Path, every_step_is_late: None
) -> None:
    train_tiny(tiny_task(**QUICK), data, tmp_path)
    losses = [row["loss"] for row in finished(every_step)]
    growing = read_growing(tmp_path / "log.csv")
    assert [(row["step"], row["kept"]) for row in growing] == [(step, step % 4 == 0) for step in range(1, 17)]
    seconds = [row["seconds"] for row in growing]
    assert seconds == sorted(seconds) and seconds[0] > 0
    # A row by time is the step since the row before it, one that is kept the mean of its four.
    expected = [sum(losses[step - 4 : step]) / 4 if step % 4 == 0 else losses[step - 1] for step in range(1, 17)]
    assert [row["loss"] for row in growing] == pytest.approx(expected, rel=1e-5)
    assert kept(tmp_path) == finished(tmp_path)


@pytest.mark.slow
def test_a_log_that_goes_on_has_each_row_once(
    data: Artifact, tmp_path: Path, every_step_is_late: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(data, tmp_path / "parts", 6, **QUICK)
    assert [row["step"] for row in read_growing(tmp_path / "parts" / "log.csv")] == [1, 2, 3, 4, 5, 6]
    train_tiny(tiny_task(**QUICK), data, tmp_path / "parts")
    assert [row["step"] for row in read_growing(tmp_path / "parts" / "log.csv")] == list(range(1, 17))
    assert kept(tmp_path / "parts") == finished(tmp_path / "parts")
    monkeypatch.setattr("mimflow.training.live.SILENT", float("inf"))  # nobody is shown anything between rows
    train_tiny(tiny_task(**QUICK), data, tmp_path / "whole")
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


@pytest.mark.slow
def test_rows_an_epoch_apart_have_figures_on_the_validation_split(data: Artifact, tmp_path: Path) -> None:
    facts = train_tiny(tiny_task(**QUICK), data, tmp_path)
    log = finished(tmp_path)
    # 40 images in batches of 8: five steps an epoch; and the last step.
    assert [row["step"] for row in log if "val_loss" in row] == [5, 10, 15, 16]
    assert {f"val_{name}": pytest.approx(value, rel=1e-7) for name, value in facts.val.items()} == {
        name: value for name, value in log[-1].items() if name.startswith("val_")
    }
    assert not any(name.startswith("val_") for name in facts.final)


def test_a_long_phase_is_validated_ten_times_and_at_its_end() -> None:
    log = TrainingLog(total=2010, per_epoch=7)
    found = []
    for step in range(1, 2011):
        log.add(step, 0.0, 0.0, {"loss": 1.0})
        if log.lacks_validation(step):
            log.validated({"loss": 2.0, "bpd": None})
            found.append(step)
            assert not log.lacks_validation(step)
    # Rows end every ten steps; a tenth of the phase is 201 steps.
    assert found == [210, 420, 630, 840, 1050, 1260, 1470, 1680, 1890, 2010]
    assert log.rows[-1] == {"step": 2010, "epoch": 0.0, "lr": 0.0, "loss": 1.0, "val_loss": 2.0}


@pytest.mark.slow
@pytest.mark.fault("interruptions")
def test_a_signal_during_a_validation_loses_none(
    data: Artifact, every_step: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*words: Any) -> dict[str, float | None]:
        monkeypatch.setattr(PLACE, validate)
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(*words)

    monkeypatch.setattr(PLACE, signalled)
    with pytest.raises(Interrupted, match="SIGTERM at step 5 of 16"):
        train_tiny(tiny_task(**QUICK), data, tmp_path)
    train_tiny(tiny_task(**QUICK), data, tmp_path)
    assert results(tmp_path) == results(every_step)
    assert kept(tmp_path) == finished(every_step)


# -- dashboards --------------------------------------------------------------------------------------------------------


def watched(name: str) -> TrainTask:
    task = tiny_task(**QUICK)
    return task.model_copy(update={"compute": Compute.model_validate({"threads": 1, "watch": [name]})})


def test_what_watches_is_no_part_of_a_key() -> None:
    assert watched("wandb").key({}) == watched("tensorboard").key({}) == tiny_task(**QUICK).key({})


def test_a_package_that_is_missing_is_named_before_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimflow.training.writers.find_spec", lambda name: None)
    message = r"compute\.watch: wandb is not installed \(pip install 'mimflow\[watch\]', or leave it out\)"
    with pytest.raises(PlanError, match=message):
        train.run(watched("wandb"), {}, tmp_path, Progress("tiny", stream=io.StringIO()))


def train_in_two_parts(name: str, data: Artifact, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, from a project's folder, with an interruption after step 6."""
    monkeypatch.chdir(folder)
    with pytest.raises(Interrupted):
        train_tiny(watched(name), data, folder / "work", SignalAt(6))
    train_tiny(watched(name), data, folder / "work")


@pytest.mark.slow
def test_tensorboard_shows_each_row_once(
    data: Artifact, every_step: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_in_two_parts("tensorboard", data, tmp_path, monkeypatch)
    key = watched("tensorboard").job({"data": data})
    (run,) = (tmp_path / "results/watch/tensorboard").iterdir()
    assert run.name == f"tiny-{key[:8]}"
    events = accumulator.EventAccumulator(str(run))
    events.Reload()
    log = finished(every_step)
    for column in ("loss", "lr", "grad_norm", "val_loss"):
        shown = {event.step: event.value for event in events.Scalars(column)}
        assert shown == pytest.approx({row["step"]: row[column] for row in log if column in row}, rel=1e-6)
    assert results(tmp_path / "work") == results(every_step)


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline run: a header of seven bytes, then blocks of LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, place, begun = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:  # what is left of a block is too short for a head
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        begun += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(begun)
            begun = b""


@pytest.mark.slow
def test_wandb_goes_on_with_an_offline_run(
    data: Artifact, every_step: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    train_in_two_parts("wandb", data, tmp_path, monkeypatch)
    files = sorted((tmp_path / "results/watch/wandb").glob("offline-run-*/*.wandb"))
    records = [record for file in files for record in wandb_records(file)]
    begun = [record.run for record in records if record.HasField("run")]
    key = watched("wandb").job({"data": data})
    assert {run.run_id for run in begun} == {key[:16]} and begun[0].display_name == "tiny"
    assert {item.key for item in begun[0].config.update} >= {"system", "phase", "seed"}
    shown: dict[float, float] = {}
    for record in records:
        if record.HasField("history"):
            items = {item.key or item.nested_key[0]: float(item.value_json) for item in record.history.item}
            shown[record.history.step.num] = items["loss"]
    assert shown == pytest.approx({row["step"]: row["loss"] for row in finished(every_step)}, rel=1e-6)
    assert results(tmp_path / "work") == results(every_step)
