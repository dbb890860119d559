"""Training survives: interruptions, damaged checkpoints, full disks, losses that are not finite."""

from __future__ import annotations

import csv
import io
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_parts
from artifacts import store_artifact
from safetensors.torch import load_file
from torch import Tensor, nn
from training_parts import (
    CONVNET,
    GAUSSIAN,
    OPTIMIZER,
    SHAPES,
    TRAIN,
    SignalAt,
    phase,
    results,
    tiny_data,
    tiny_task,
    train_tiny,
)

from mimflow.artifacts.log import log_text
from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.compute.devices import memory_errors
from mimflow.data.prepared import Prepared
from mimflow.data.spec import Augment
from mimflow.errors import (
    ArtifactError,
    DataError,
    DeviceError,
    Interrupted,
    NotFiniteError,
    OutOfMemoryError,
    StorageError,
)
from mimflow.objectives.base import Batch, Objective, Player
from mimflow.objectives.spec import CrossEntropySpec
from mimflow.progress import Progress
from mimflow.system.modules import SystemModules
from mimflow.system.spec import System
from mimflow.training.batches import Shuffled
from mimflow.training.checkpoint import Checkpoint, newest, save
from mimflow.training.log import TrainingLog
from mimflow.training.loop import Splits, Trainer
from mimflow.training.memory import out_of_memory
from mimflow.training.spec import Phase

CPU = torch.device("cpu")
CLASSIFY = {"kind": "cross_entropy"}
SETTINGS: dict[str, dict[str, Any]] = {
    "flow": {},
    "flow-bf16": {"precision": "bf16", "accumulate": 1},
    "classifier": {"system": CONVNET, "objective": CLASSIFY},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_data(tmp_path_factory.mktemp("training") / "data")


@pytest.fixture(scope="module")
def uninterrupted(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the tiny job writes when nothing stops it."""
    work = tmp_path_factory.mktemp("uninterrupted")
    train_tiny(tiny_task(), data, work)
    return results(work)


def interrupt(data: Artifact, work: Path, step: int, number: signal.Signals = signal.SIGTERM, **changes: Any) -> str:
    """Run the job until a signal arrives at this step; the message that it leaves with."""
    with pytest.raises(Interrupted) as caught:
        train_tiny(tiny_task(**changes), data, work, SignalAt(step, number))
    assert caught.value.exit_code == 143
    return str(caught.value)


def checkpoints(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "checkpoints").iterdir())


def rows(work: Path) -> list[dict[str, str]]:
    with (work / "out" / "log.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# -- what a job writes and says --------------------------------------------------------------------------------------


def test_writes_weights_averages_log_and_snapshots(uninterrupted: dict[str, bytes]) -> None:
    assert set(uninterrupted) == {
        "weights.safetensors",
        "ema.safetensors",
        "log.csv",
        "snapshots/0.safetensors",
        "snapshots/0.5.safetensors",
    }


def test_facts_say_what_was_trained(data: Artifact, tmp_path: Path) -> None:
    facts = train_tiny(tiny_task(), data, tmp_path)
    weights = load_file(tmp_path / "out" / "weights.safetensors")
    count = sum(tensor.numel() for tensor in weights.values())
    assert facts.parameters == {"prior": count, "total": count} and facts.system_parameters == count
    assert facts.steps == 16
    assert facts.epochs == 16 / (TRAIN // 8)
    assert facts.device == "cpu"
    assert set(facts.val) == {"loss", "nll", "logdet", "z2"}
    assert set(facts.snapshots) == {"0", "0.5"}
    assert facts.final["loss"] == pytest.approx(float(rows(tmp_path)[-1]["loss"]), rel=1e-6)


@pytest.mark.slow
def test_loss_falls_and_the_log_has_a_row_a_step(data: Artifact, tmp_path: Path) -> None:
    facts = train_tiny(tiny_task(steps=60, snapshots=[0.0]), data, tmp_path)
    log = rows(tmp_path)
    assert [int(row["step"]) for row in log] == list(range(1, 61))
    assert list(log[0])[:4] == ["step", "epoch", "lr", "loss"]
    losses = [float(row["loss"]) for row in log]
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.5
    assert facts.val["loss"] < facts.snapshots["0"]["loss"] - 0.1


@pytest.mark.slow
def test_classifier_learns_the_three_classes(data: Artifact, tmp_path: Path) -> None:
    facts = train_tiny(tiny_task(CONVNET, objective=CLASSIFY, steps=60, augment={}), data, tmp_path)
    assert facts.val["accuracy"] == 1.0


def test_log_of_a_long_phase_has_about_200_rows_of_means() -> None:
    log = TrainingLog(total=401)
    for step in range(1, 402):
        late = {"late_loss": 7.0} if step > 400 else {}
        log.add(step, step / 10, 1.0, {"loss": float(step), **late})
    assert [row["step"] for row in log.rows] == [*range(2, 401, 2), 401]
    assert [row["loss"] for row in log.rows[:2]] == [1.5, 3.5]
    lines = log_text(log.rows).splitlines()
    assert lines[:2] == ["step,epoch,lr,loss,late_loss", "2,0.2,1,1.5,"]
    assert lines[-1] == "401,40.1,1,401,7"


@pytest.mark.slow
def test_snapshots_hold_the_averages_of_their_step(data: Artifact, tmp_path: Path) -> None:
    train_tiny(tiny_task(), data, tmp_path / "long")
    train_tiny(tiny_task(steps=8, schedule={}, snapshots=[0.5, 1.0]), data, tmp_path / "short")
    ema = load_file(tmp_path / "short" / "out" / "ema.safetensors")
    last = load_file(tmp_path / "short" / "out" / "snapshots" / "1.safetensors")
    assert all(ema[name].equal(last[name]) for name in ema)
    half = load_file(tmp_path / "short" / "out" / "snapshots" / "0.5.safetensors")
    assert any(not half[name].equal(last[name]) for name in last)


def test_averages_are_a_complete_state(data: Artifact, tmp_path: Path) -> None:
    train_tiny(tiny_task(CONVNET | GAUSSIAN, objective=CLASSIFY), data, tmp_path)
    weights, ema = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("weights", "ema"))
    assert weights.keys() == ema.keys()
    assert not weights["classifier.hidden.weight"].equal(ema["classifier.hidden.weight"])
    for name in ("prior.mean", "classifier.norms.0.running_mean"):
        assert weights[name].equal(ema[name])


@pytest.mark.slow
def test_seeds_differ(data: Artifact, tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    train_tiny(tiny_task(seed=1), data, tmp_path)
    assert results(tmp_path)["weights.safetensors"] != uninterrupted["weights.safetensors"]


def test_closed_form_fits_and_validates(data: Artifact, tmp_path: Path) -> None:
    task = tiny_task(GAUSSIAN)
    solved = task.model_copy(update={"phase": Phase.model_validate({"objective": {"kind": "moments"}})})
    facts = train_tiny(solved, data, tmp_path)
    assert facts.val["loss"] > facts.final["loss"]
    assert set(results(tmp_path)) == {"weights.safetensors", "log.csv"}
    assert float(rows(tmp_path)[0]["nll"]) == pytest.approx(facts.final["nll"])


# -- interruptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.slow
def test_resumed_training_equals_uninterrupted(changes: dict[str, Any], data: Artifact, tmp_path: Path) -> None:
    train_tiny(tiny_task(**changes), data, tmp_path / "whole")
    for step in (3, 8, 13):
        interrupt(data, tmp_path / "parts", step, **changes)
    train_tiny(tiny_task(**changes), data, tmp_path / "parts")
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
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
    save(tmp_path, Checkpoint(4, tensors, {"rows": [{"loss": 0.1}]}))
    found = newest(tmp_path, pytest.fail)
    assert found is not None
    assert found.step == 4
    assert found.record == {"rows": [{"loss": 0.1}]}
    assert all(found.tensors[name].equal(tensor) for name, tensor in tensors.items())


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


def test_leftovers_of_a_killed_process_are_removed(data: Artifact, tmp_path: Path) -> None:
    for name in ("checkpoints/.step-1.safetensors.x.safetensors", "out/snapshots/.0.5.safetensors.x.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("half")
    train_tiny(tiny_task(), data, tmp_path)
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


# -- what can't go on ------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_before_the_update(data: Artifact, tmp_path: Path) -> None:
    absurd = {"optimizer": OPTIMIZER | {"lr": 1e18}, "schedule": {}}
    with pytest.raises(NotFiniteError) as caught:
        train_tiny(tiny_task(**absurd), data, tmp_path)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert "at step 2 of 16 with learning rate 1e+18" in message
    last = tmp_path / "checkpoints" / "step-000000001.safetensors"
    assert f"last good checkpoint: {last}" in message
    found = newest(tmp_path / "checkpoints", pytest.fail)
    assert found is not None
    assert all(tensor.isfinite().all() for tensor in found.tensors.values())


def test_cuda_that_is_not_there_is_said_before_data_is_read(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match=r"compute\.device: cuda was asked for"):
        training_parts.train.run(tiny_task(device="cuda"), {}, tmp_path, Progress("tiny", stream=io.StringIO()))


def test_out_of_memory_says_what_to_try() -> None:
    settings = Phase.model_validate(phase(batch_size=12, accumulate=2))
    message = r"phase 'main': out of memory with 6 images at once .*: try accumulate: 3, or a smaller batch_size"
    with pytest.raises(OutOfMemoryError, match=message), memory_errors(out_of_memory("main", settings)):
        torch.empty(2**50)


def test_other_runtime_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="must match"), memory_errors("no memory"):
        torch.zeros(2) + torch.zeros(3)


def test_a_batch_larger_than_the_data(data: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"phase\.batch_size: 64 is more than the 40 training images"):
        train_tiny(tiny_task(batch_size=64), data, tmp_path)


# -- where training starts -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(data: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a finished job."""
    work = tmp_path_factory.mktemp("trained")
    train_tiny(tiny_task(), data, work)
    return work / "out"


def first_snapshot(work: Path) -> dict[str, Tensor]:
    """The state that a job began from."""
    return load_file(work / "out" / "snapshots" / "0.safetensors")


@pytest.mark.parametrize("name", ["weights", "ema"])
def test_starts_from_a_file(name: str, data: Artifact, trained: Path, tmp_path: Path) -> None:
    file = trained / f"{name}.safetensors"
    start = [{"file": str(file), "sha256": sha256_of(file)}]
    train_tiny(tiny_task(start=start, snapshots=[0.0], steps=1), data, tmp_path)
    began, expected = first_snapshot(tmp_path), load_file(file)
    assert all(began[key].equal(expected[key]) for key in expected)


def test_starts_from_another_job(data: Artifact, trained: Path, tmp_path: Path) -> None:
    job = store_artifact(trained, stage="train", name="tiny")
    task = tiny_task(start=[{"phase": "before", "ema": True}], snapshots=[0.0], steps=1)
    progress = Progress("tiny", stream=io.StringIO())
    training_parts.train.run(task, {"data": data, "start0": job}, tmp_path, progress)
    began, expected = first_snapshot(tmp_path), load_file(trained / "ema.safetensors")
    assert all(began[key].equal(expected[key]) for key in expected)


def test_start_files_that_are_missing_or_another(data: Artifact, trained: Path, tmp_path: Path) -> None:
    missing = [{"file": str(tmp_path / "none.safetensors"), "sha256": "0" * 64}]
    with pytest.raises(
        ArtifactError, match=r"none\.safetensors: missing: put the weights to start from there, SHA-256 0000"
    ):
        train_tiny(tiny_task(start=missing), data, tmp_path / "a")
    other = [{"file": str(trained / "weights.safetensors"), "sha256": "0" * 64}]
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: SHA-256 [0-9a-f]{64}, the spec says 0000"):
        train_tiny(tiny_task(start=other), data, tmp_path / "b")


def test_start_weights_of_other_modules_are_refused(data: Artifact, trained: Path, tmp_path: Path) -> None:
    file = trained / "weights.safetensors"
    start = [{"file": str(file), "sha256": sha256_of(file)}]
    with pytest.raises(ArtifactError, match="holds none of the system's modules"):
        train_tiny(tiny_task(CONVNET, objective=CLASSIFY, start=start), data, tmp_path)


# -- batches, accumulation, precision --------------------------------------------------------------------------------


def test_an_epoch_shows_each_image_once_and_the_next_in_another_order(data: Artifact) -> None:
    batches = Shuffled(Prepared.open(data).split("train"), 8, 2, Augment(), 0, CPU)
    epochs = [
        torch.cat([batches.part(step, part).indices for step in range(first, first + 5) for part in range(2)])
        for first in (0, 5)
    ]
    assert all(epoch.sort().values.equal(torch.arange(TRAIN)) for epoch in epochs)
    assert not epochs[0].equal(epochs[1])


def test_what_does_not_fill_a_batch_is_left_out(data: Artifact) -> None:
    batches = Shuffled(Prepared.open(data).split("train"), 12, 1, Augment(), 0, CPU)
    assert batches.steps_per_epoch == 3


def test_batches_do_not_depend_on_what_was_asked_before(data: Artifact) -> None:
    split = Prepared.open(data).split("train")
    one, other = (Shuffled(split, 8, 1, Augment(), 0, CPU) for _ in range(2))
    for step in range(12):
        one.part(step, 0)
    assert one.part(7, 0).indices.equal(other.part(7, 0).indices)


@pytest.mark.slow
def test_accumulated_parts_equal_one_batch(data: Artifact, tmp_path: Path) -> None:
    # No noise to speak of, no clipping and a large eps: what AdamW does then depends on the gradient's size.
    quiet = {
        "objective": {"kind": "nll", "noise": {"kind": "gaussian", "std": 1e-9}},
        "augment": {},
        "clip": None,
        "optimizer": {"kind": "adamw", "lr": 1e-1, "eps": 1.0},
        "snapshots": [0.0],
    }
    states = []
    for parts in (1, 4):
        train_tiny(tiny_task(**quiet, accumulate=parts), data, tmp_path / str(parts))
        states.append(load_file(tmp_path / str(parts) / "out" / "weights.safetensors"))
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], atol=1e-6, rtol=1e-5)
    began = first_snapshot(tmp_path / "1")
    assert max((states[0][name] - began[name]).abs().max().item() for name in began) > 1e-3


@pytest.mark.slow
def test_bf16_keeps_weights_in_fp32_and_ends_near_fp32(data: Artifact, tmp_path: Path) -> None:
    facts = {
        precision: train_tiny(tiny_task(precision=precision), data, tmp_path / precision)
        for precision in ("fp32", "bf16")
    }
    weights = load_file(tmp_path / "bf16" / "out" / "weights.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert facts["bf16"].val["loss"] != facts["fp32"].val["loss"]
    assert facts["bf16"].val["loss"] == pytest.approx(facts["fp32"].val["loss"], abs=0.02)


def test_clipping_bounds_the_step_and_the_log_shows_the_norm_before(data: Artifact, tmp_path: Path) -> None:
    settings = {"steps": 1, "ema": None, "snapshots": [0.0], "schedule": {}, "accumulate": 1}
    # With eps far above the gradient, AdamW's first step is lr · gradient / eps.
    optimizer = {"kind": "adamw", "lr": 1.0, "eps": 1e4, "weight_decay": 0.0}
    train_tiny(tiny_task(**settings, optimizer=optimizer, clip=1e-3), data, tmp_path)
    began, ended = first_snapshot(tmp_path), load_file(tmp_path / "out" / "weights.safetensors")
    moved = torch.stack([(ended[name].double() - began[name]).norm() for name in began]).norm()
    assert float(rows(tmp_path)[0]["grad_norm"]) > 0.1
    assert moved.item() <= 1.01e-7


# -- several players -------------------------------------------------------------------------------------------------


class Duel(Objective):
    """A classifier that minimises its own loss, and a critic of its detached features, from step 3 on."""

    def __init__(self, modules: SystemModules):
        super().__init__(CrossEntropySpec(), modules, SHAPES)
        self.critic = nn.Linear(6, 1)
        self.turns: list[str] = []
        self.critic_learns: list[bool] = []
        self.draws: list[float] = []

    def players(self, trains: list[str]) -> list[Player]:
        classifier = {f"classifier.{name}": p for name, p in self.system.classifier.named_parameters()}
        critic = {f"objective.critic.{name}": p for name, p in self.critic.named_parameters()}
        return [Player("classifier", classifier), Player("critic", critic, start=3)]

    def loss(self, player: str, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        self.turns.append(player)
        self.critic_learns.append(self.critic.weight.requires_grad)
        self.draws.append(torch.rand(()).item())
        if player == "critic":
            return self.critic(carry["features"]).square().mean(), {"criticism": carry["features"].mean()}
        features, logits = self.system.classifier(batch.images)
        carry["features"] = features.detach()
        return nn.functional.cross_entropy(logits, batch.labels) + 0 * self.critic(features).mean(), {}


def duel(data: Artifact, work: Path, stream: io.StringIO, **changes: Any) -> Trainer:
    torch.manual_seed(0)
    objective = Duel(SystemModules(System.model_validate(CONVNET), SHAPES))
    prepared = Prepared.open(data)
    plain = {"objective": CLASSIFY, "steps": 8, "accumulate": 1, "snapshots": []}
    settings = Phase.model_validate(phase(**plain | changes))
    return Trainer(
        objective,
        settings,
        "main",
        ["classifier"],
        Splits(prepared.split("train"), prepared.split("val")),
        0,
        CPU,
        work,
        work / "out",
        Progress("duel", interval=0.0, stream=stream),
    )


def test_players_take_turns(data: Artifact, tmp_path: Path) -> None:
    trainer = duel(data, tmp_path, io.StringIO())
    critic = trainer.objective.critic.weight.detach().clone()
    trainer.run()
    # Steps 3 to 7 have both; what follows them is validation, of the first player.
    both, one = ["classifier", "critic"], ["classifier"]
    assert trainer.objective.turns[:13] == [*one * 3, *both * 5]
    assert set(trainer.objective.turns[13:]) == {"classifier"}
    # A network takes gradients in its own turns alone: it is a fixed measure in the others'.
    learns = [player == "critic" for player in trainer.objective.turns]
    assert trainer.objective.critic_learns == learns
    assert ["critic_loss" in row for row in trainer.log.rows] == [False] * 3 + [True] * 5
    assert not trainer.objective.critic.weight.equal(critic)
    assert trainer.ema is not None
    assert set(trainer.ema.averages) == {name for name in trainer.parameters if name.startswith("classifier.")}


def test_a_player_moves_only_its_own_and_by_its_own_optimiser(data: Artifact, tmp_path: Path) -> None:
    trainer = duel(data, tmp_path, io.StringIO())
    trainer.run()
    assert trainer.optimisers["critic"].param_groups[0]["lr"] == trainer.last_lr
    steps = {name: [float(s["step"]) for s in o.state.values()] for name, o in trainer.optimisers.items()}
    assert set(steps["classifier"]) == {8.0}
    assert set(steps["critic"]) == {5.0}


def test_every_step_part_and_player_draws_anew_and_the_same_in_every_run(data: Artifact, tmp_path: Path) -> None:
    draws = []
    for name in ("one", "other"):
        trainer = duel(data, tmp_path / name, io.StringIO(), accumulate=2)
        trainer.run()
        draws.append(trainer.objective.draws)
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == len(draws[0])


def test_several_players_resume_as_if_never_stopped(data: Artifact, tmp_path: Path) -> None:
    whole = duel(data, tmp_path / "whole", io.StringIO())
    whole.run()
    for step in (2, 5):
        with pytest.raises(Interrupted):
            duel(data, tmp_path / "parts", SignalAt(step)).run()
    parts = duel(data, tmp_path / "parts", io.StringIO())
    parts.run()
    assert log_text(parts.log.rows) == log_text(whole.log.rows)
    expected = whole.objective.state()
    assert all(tensor.equal(expected[name]) for name, tensor in parts.objective.state().items())
    assert log_text(whole.log.rows).splitlines()[1].endswith(",,,")  # the critic's figures, which step 1 does not have
