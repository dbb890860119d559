"""What training writes, where it starts, what it refuses, its batches and its precision."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
import training_parts
from artifacts import store_artifact
from safetensors.torch import load_file
from torch import Tensor
from training_parts import (
    CLASSIFY,
    CONVNET,
    GAUSSIAN,
    MASKED_AE,
    OPTIMIZER,
    TRAIN,
    phase,
    results,
    rows,
    tiny_task,
    train_tiny,
)

from mimflow.artifacts.log import log_text
from mimflow.artifacts.manifest import Artifact, sha256_of
from mimflow.compute.memory import memory_errors
from mimflow.data.prepared import Prepared
from mimflow.data.spec import Augment
from mimflow.errors import (
    ArtifactError,
    DataError,
    DeviceError,
    NotFiniteError,
    OutOfMemoryError,
)
from mimflow.objectives.base import ClosedForm
from mimflow.progress import Progress
from mimflow.tasks import TrainTask
from mimflow.training.batches import Shuffled
from mimflow.training.checkpoint import newest
from mimflow.training.log import TrainingLog
from mimflow.training.memory import out_of_memory
from mimflow.training.spec import Phase

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
# -- what a job writes and says --------------------------------------------------------------------------------------


def test_writes_weights_averages_log_and_snapshots(uninterrupted: dict[str, bytes]) -> None:
    assert set(uninterrupted) == {
        "weights.safetensors",
        "ema.safetensors",
        "optimiser.safetensors",
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


def test_dear_figures_stand_in_the_first_the_last_and_every_tenth_row() -> None:
    log = TrainingLog(total=401)
    assert [step for step in range(1, 402) if log.measures(step)] == [2, *range(20, 401, 20), 401]
    assert all(log.ends_row(step) for step in range(1, 402) if log.measures(step))


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


def in_closed_form() -> TrainTask:
    return tiny_task(GAUSSIAN).model_copy(update={"phase": Phase.model_validate({"objective": {"kind": "moments"}})})


def test_closed_form_fits_and_validates(data: Artifact, tmp_path: Path) -> None:
    facts = train_tiny(in_closed_form(), data, tmp_path)
    assert facts.val["loss"] > facts.final["loss"]
    assert set(results(tmp_path)) == {"weights.safetensors", "log.csv"}
    assert float(rows(tmp_path)[0]["nll"]) == pytest.approx(facts.final["nll"])


# -- what can't go on ------------------------------------------------------------------------------------------------


@pytest.mark.fault("not finite")
def test_a_loss_that_is_not_finite_stops_before_the_update(data: Artifact, tmp_path: Path) -> None:
    absurd = {"optimizer": OPTIMIZER | {"lr": 1e18}, "schedule": {}}
    with pytest.raises(NotFiniteError) as caught:
        train_tiny(tiny_task(**absurd), data, tmp_path)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert "at step 2 of 16 with learning rate 1e+18" in message
    last = tmp_path / "checkpoints" / "step-000000001.safetensors"
    assert f"last good checkpoint: {last}" in message
    found = newest(tmp_path / "checkpoints", tiny_task(**absurd).job({"data": data}), pytest.fail)
    assert found is not None
    assert all(tensor.isfinite().all() for tensor in found.tensors.values())


@pytest.mark.fault("not finite")
@pytest.mark.parametrize(
    "changes",
    [{}, {"on_nonfinite": "skip"}, {"ema": None}, {"snapshots": [1.0], "checkpoint_seconds": 3600.0}],
    ids=["stop", "skip", "no averages", "a snapshot at the end"],
)
def test_an_update_that_breaks_the_weights_is_never_saved(changes: dict, data: Artifact, tmp_path: Path) -> None:
    """The loss of the step was fine; nothing tells of the update but the weights."""
    absurd = {"steps": 1, "optimizer": OPTIMIZER | {"lr": 1e38}, "schedule": {}, "snapshots": []} | changes
    with pytest.raises(NotFiniteError) as caught:
        train_tiny(tiny_task(**absurd), data, tmp_path)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert "phase 'main': prior." in message
    assert "is not finite after step 1 of 1, which had the learning rate 1e+38" in message
    assert message.endswith("no checkpoint had been written yet (lower optimizer.lr, or set clip)")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.fault("not finite")
def test_the_last_good_checkpoint_stays_the_last_good_one(data: Artifact, tmp_path: Path) -> None:
    """The rate explodes at the end of a long warm-up: checkpoints after every step, none of broken weights."""
    absurd = {"optimizer": OPTIMIZER | {"lr": 1e38}, "schedule": {"warmup_steps": 16, "initial": 1e-40}}
    with pytest.raises(NotFiniteError, match=r"last good checkpoint: .*/step-\d+\.safetensors|no checkpoint"):
        train_tiny(tiny_task(**absurd), data, tmp_path)
    files = list(tmp_path.rglob("*.safetensors"))
    assert all(tensor.isfinite().all() for path in files for tensor in load_file(path).values())


@pytest.mark.fault("not finite")
def test_a_closed_form_that_is_not_finite_is_not_stored(
    data: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: ClosedForm, batches: object) -> None:
        self.prior.mean.fill_(torch.nan)

    monkeypatch.setattr("mimflow.objectives.moments.Moments.fit", fit)
    with pytest.raises(NotFiniteError, match=r"phase 'main': prior\.mean is not finite"):
        train_tiny(in_closed_form(), data, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.fault("schedulers")
def test_cuda_that_is_not_there_is_said_before_data_is_read(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match=r"compute\.device: cuda was asked for"):
        training_parts.train.run(tiny_task(device="cuda"), {}, tmp_path, Progress("tiny", stream=io.StringIO()))


@pytest.mark.fault("memory and disks")
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


def test_starts_from_a_part_of_a_tokenizer(data: Artifact, tmp_path: Path) -> None:
    objective = {"kind": "autoencoder", "masked": False}
    train_tiny(tiny_task(MASKED_AE, seed=1, objective=objective, steps=1), data, tmp_path / "a")
    file = tmp_path / "a/out/weights.safetensors"
    start = [{"file": str(file), "sha256": sha256_of(file), "modules": ["tokenizer.encoder"]}]
    train_tiny(tiny_task(MASKED_AE, objective=objective, start=start, snapshots=[0.0], steps=1), data, tmp_path / "b")
    began, expected = first_snapshot(tmp_path / "b"), load_file(file)
    same = {key for key in expected if began[key].equal(expected[key])}
    assert {key for key in expected if key.startswith("tokenizer.encoder.")} <= same
    assert any(key.startswith("tokenizer.decoder.") for key in expected.keys() - same)


@pytest.mark.fault("weights from outside")
def test_start_files_that_are_missing_or_another(data: Artifact, trained: Path, tmp_path: Path) -> None:
    missing = [{"file": str(tmp_path / "none.safetensors"), "sha256": "0" * 64}]
    with pytest.raises(
        ArtifactError, match=r"none\.safetensors: missing: put the weights to start from there, SHA-256 0000"
    ):
        train_tiny(tiny_task(start=missing), data, tmp_path / "a")
    other = [{"file": str(trained / "weights.safetensors"), "sha256": "0" * 64}]
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: SHA-256 [0-9a-f]{64}, the spec says 0000"):
        train_tiny(tiny_task(start=other), data, tmp_path / "b")


@pytest.mark.fault("weights from outside")
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
