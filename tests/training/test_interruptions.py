"""Training goes on after signals, kills, damaged checkpoints and full disks, to the same bits."""

from __future__ import annotations

import io
import random
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_parts
from training_parts import (
    CLASSIFY,
    CONVNET,
    SignalAt,
    checkpoints,
    interrupt,
    results,
    tiny_task,
    train_tiny,
)

from mimflow.artifacts.manifest import Artifact
from mimflow.errors import Interrupted, StorageError
from mimflow.training.checkpoint import Checkpoint, newest, save

pytestmark = [pytest.mark.slow, pytest.mark.fault("interruptions")]

SETTINGS: dict[str, dict[str, Any]] = {
    "flow": {},
    "flow-bf16": {"precision": "bf16", "accumulate": 1},
    "classifier": {"system": CONVNET, "objective": CLASSIFY},
}


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.slow
def test_resumed_training_equals_uninterrupted(changes: dict[str, Any], data: Artifact, tmp_path: Path) -> None:
    train_tiny(tiny_task(**changes), data, tmp_path / "whole")
    for step in (3, 8, 13):
        interrupt(data, tmp_path / "parts", step, **changes)
    train_tiny(tiny_task(**changes), data, tmp_path / "parts")
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_and_exit_status_143(
    number: signal.Signals, data: Artifact, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    message = interrupt(data, tmp_path, 5, number, checkpoint_seconds=3600.0)
    assert f"{number.name} at step 5 of 16; the next run goes on from" in message
    assert checkpoints(tmp_path) == ["step-000000005.safetensors", "step-000000005.sha256"]
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_killed_again_and_again(data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    command = [sys.executable, training_parts.__file__, str(data.folder), str(tmp_path)]
    # Imported from where they are imported here; the kill itself falls anywhere in a step or a write.
    path = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry), "OMP_NUM_THREADS": "1"}
    chosen = random.Random(0)
    for first in (1, 6, 11):
        step = chosen.randint(first, first + 4)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=path)
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if f"step {step}/" in line:
                process.kill()
                break
        process.stderr.close()
        assert process.wait() == -signal.SIGKILL, said
    train_tiny(tiny_task(), data, tmp_path)
    assert results(tmp_path) == uninterrupted


def test_two_checkpoints_are_kept(data: Artifact, tmp_path: Path) -> None:
    interrupt(data, tmp_path, 5)
    stems = {name.partition(".")[0] for name in checkpoints(tmp_path)}
    assert stems == {"step-000000004", "step-000000005"}


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def lose_digest(path: Path) -> None:
    path.with_suffix(".sha256").unlink()


@pytest.mark.fault("checkpoints")
@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lose_digest])
@pytest.mark.slow
def test_a_damaged_checkpoint_is_found_and_the_one_before_is_used(
    damage: Any, data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(data, tmp_path, 9)
    damage(tmp_path / "checkpoints" / "step-000000009.safetensors")
    stream = io.StringIO()
    train_tiny(tiny_task(), data, tmp_path, stream)
    assert "checkpoint step-000000009.safetensors is damaged or was not finished: not used" in stream.getvalue()
    assert "going on from the checkpoint at step 8 of 16" in stream.getvalue()
    assert results(tmp_path) == uninterrupted


@pytest.mark.fault("checkpoints")
@pytest.mark.slow
def test_without_a_whole_checkpoint_training_starts_anew_and_says_so(
    data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(data, tmp_path, 9)
    for path in (tmp_path / "checkpoints").glob("*.safetensors"):
        truncate(path)
    stream = io.StringIO()
    train_tiny(tiny_task(), data, tmp_path, stream)
    assert "no checkpoint is whole: starting anew" in stream.getvalue()
    assert results(tmp_path) == uninterrupted


def test_checkpoints_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = {"weights.a": torch.randn(3, 2), "weights.count": torch.tensor(7)}
    save(tmp_path, Checkpoint("one", 4, tensors, {"rows": [{"loss": 0.1}]}))
    found = newest(tmp_path, "one", pytest.fail)
    assert found is not None
    assert found.step == 4
    assert found.record == {"rows": [{"loss": 0.1}]}
    assert all(found.tensors[name].equal(tensor) for name, tensor in tensors.items())


@pytest.mark.fault("checkpoints")
def test_a_checkpoint_of_another_job_is_not_taken(
    data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    """Another seed's has the same tensors: only the key of its job tells."""
    with pytest.raises(Interrupted):
        train_tiny(tiny_task(seed=1), data, tmp_path / "other", SignalAt(9))
    interrupt(data, tmp_path, 5)
    for suffix in ("safetensors", "sha256"):
        name = f"checkpoints/step-000000009.{suffix}"
        shutil.copy(tmp_path / "other" / name, tmp_path / name)
    stream = io.StringIO()
    train_tiny(tiny_task(), data, tmp_path, stream)
    assert "checkpoint step-000000009.safetensors is another job's: not used" in stream.getvalue()
    assert "going on from the checkpoint at step 5 of 16" in stream.getvalue()
    shutil.rmtree(tmp_path / "other")
    assert results(tmp_path) == uninterrupted


@pytest.mark.fault("checkpoints")
@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
def test_a_damaged_snapshot_is_not_a_result(
    damage: Any, data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(data, tmp_path, 9)
    damage(tmp_path / "out" / "snapshots" / "0.5.safetensors")
    stream = io.StringIO()
    train_tiny(tiny_task(), data, tmp_path, stream)
    assert "step-000000009.safetensors comes after snapshot 0.5, which is missing or damaged" in stream.getvalue()
    assert results(tmp_path) == uninterrupted


@pytest.mark.fault("memory and disks")
def test_a_full_disk_leaves_earlier_files_whole(
    data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(data, tmp_path, 5)
    before = checkpoints(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError, match=r"step-000000006\.safetensors: can't write: .*") as caught:
            train_tiny(tiny_task(), data, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 5
    assert checkpoints(tmp_path) == before
    train_tiny(tiny_task(), data, tmp_path)
    assert results(tmp_path) == uninterrupted


def test_a_signal_that_the_process_is_to_ignore_does_not_stop_training(data: Artifact, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        facts = train_tiny(tiny_task(), data, tmp_path, SignalAt(5, signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert facts.steps == 16
