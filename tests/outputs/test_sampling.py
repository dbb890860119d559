"""The infer stage: layout, labels, seeds, and going on after an interruption."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import store_artifact
from PIL import Image
from torch import Tensor

from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.rows import Rows, claim
from mimflow.artifacts.samples import read_samples, write_samples
from mimflow.compute.spec import Compute
from mimflow.data.pixels import to_uint8
from mimflow.errors import ArtifactError, DeviceError, NotFiniteError, OutOfMemoryError
from mimflow.nn.draws import Draws
from mimflow.nn.prepared import Map, prepared_linear
from mimflow.outputs.drawing import Samples
from mimflow.outputs.inverse.output import InverseSampler
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.outputs.registry import OUTPUTS
from mimflow.priors.base import Prior
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.guidance.spec import LinearGuidance
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.progress import Progress
from mimflow.seeds import derive
from mimflow.stages.infer import run
from mimflow.system.modules import SystemModules, load_weights
from mimflow.system.spec import Shapes, System
from mimflow.tasks import InferTask
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.weights.tensors import save_state

pytestmark = pytest.mark.slow

SHAPES = Shapes(channels=1, size=8, num_classes=3)
TARFLOW = TarflowSpec(width=8, blocks=[1, 1], head_width=4, expansion=2)
SYSTEM = System(tokenizer=PixelTokenizerSpec(patch_size=4), prior=TARFLOW)
TASK = InferTask(
    shapes=SHAPES,
    system=SYSTEM,
    output=InverseSpec(guidance=LinearGuidance(weight=1.5)),
    samples=Samples(count=23, batch_size=5),
    seed=0,
    compute=Compute(device="cpu"),
)


def changed(task: InferTask = TASK, samples: dict[str, object] | None = None, **fields: object) -> InferTask:
    """`task` with other fields, and with other fields of its `samples`."""
    if samples is not None:
        fields["samples"] = task.samples.model_copy(update=samples)
    return task.model_copy(update=fields)


def trained(folder: Path, system: System = SYSTEM, bias: float = 0.0) -> Artifact:
    """Weights away from the identity, and averaged ones that differ; `bias` goes onto every log-scale."""
    for seed, file in enumerate(("weights.safetensors", "ema.safetensors")):
        torch.manual_seed(seed)
        modules = SystemModules(system, SHAPES)
        for name, parameter in modules.named_parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
            if name.endswith("proj_out.bias"):
                parameter.data[: len(parameter) // 2] += bias
        save_state(modules.state_dict(), folder / file)
    return store_artifact(folder, stage="train", name="tiny.main.s0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return trained(tmp_path_factory.mktemp("weights"))


def silent() -> Progress:
    return Progress("sample", stream=io.StringIO())


def draw(task: InferTask, weights: Artifact, work: Path) -> tuple[np.ndarray, np.ndarray]:
    run(task, {"weights": weights}, work, silent())
    return read_samples(work / "out" / "samples.npz")


def test_samples_are_laid_out_as_guided_diffusion_reads_them(weights: Artifact, tmp_path: Path) -> None:
    facts = run(TASK, {"weights": weights}, tmp_path, silent())
    with np.load(tmp_path / "out" / "samples.npz") as archive:
        assert archive.files == ["arr_0", "arr_1"]
        assert (archive["arr_0"].dtype, archive["arr_0"].shape) == (np.uint8, (23, 8, 8, 1))
        assert (archive["arr_1"].dtype, archive["arr_1"].shape) == (np.int64, (23,))
        assert archive["arr_0"].std() > 10
    assert (facts.count, facts.weights) == (23, "ema.safetensors")
    assert facts.guidance.startswith("linear, weight 1.5, ")
    assert facts.images_per_second > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grid.png", "samples.npz"]


def test_how_often_guidance_overshot_a_scale_is_in_the_facts(weights: Artifact, tmp_path: Path) -> None:
    assert run(TASK, {"weights": weights}, tmp_path / "log", silent()).overshot_scales is None
    shares = []
    for floor in (None, 1.0):
        guidance = LinearGuidance(weight=1.5, space="scale", floor=floor)
        task = changed(output=TASK.output.model_copy(update={"guidance": guidance}))
        shares.append(run(task, {"weights": weights}, tmp_path / f"{floor}", silent()).overshot_scales)
    assert shares[0] == 0  # the branches hardly differ
    assert 0.2 < shares[1] < 0.8  # and every other scale shrinks


@pytest.mark.fault("memory and disks")
@pytest.mark.parametrize(
    ("size", "message"),
    [
        (6, r"no memory left on cpu for 6 images at once \(samples\.batch_size: 3\)"),
        (1, r"no memory left on cpu for 1 image at once \(the system does not fit with one image\)"),
    ],
)
def test_too_large_a_batch_names_one_to_try(
    weights: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, message: str
) -> None:
    def too_large(*_: object) -> None:
        torch.empty(2**50)  # a plain RuntimeError of the CPU's allocator

    monkeypatch.setattr("mimflow.outputs.prior.PriorSampler.batch", too_large)
    with pytest.raises(OutOfMemoryError, match=message) as caught:
        run(changed(samples={"batch_size": size}), {"weights": weights}, tmp_path, silent())
    assert caught.value.exit_code == 4


def test_the_file_is_the_one_that_numpy_writes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(7, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(7)
    write_samples(tmp_path / "ours.npz", [images[:4], images[4:]], labels, (4, 4, 3))
    np.savez(tmp_path / "numpy.npz", images, labels)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


def test_every_image_is_drawn_by_its_own_number(weights: Artifact, tmp_path: Path) -> None:
    images, labels = draw(TASK, weights, tmp_path)
    modules = SystemModules(SYSTEM, SHAPES)
    load_weights(modules, weights.file("ema.safetensors"))
    alone = OUTPUTS.build(TASK.output).sample(
        modules.module("tokenizer"),
        modules.module("prior"),
        torch.from_numpy(labels[17:18]),
        Draws([derive(0, 0, "sample", 17)]),
    )
    difference = np.abs(images[17:18].astype(int) - to_uint8(alone, "round"))
    assert difference.max() <= 1  # sums of other sizes are rounded otherwise
    assert not np.array_equal(images[:5], images[5:10])


def test_the_size_of_a_batch_changes_no_image(weights: Artifact, tmp_path: Path) -> None:
    small, large = (
        draw(changed(samples={"batch_size": size}), weights, tmp_path / str(size))[0].astype(int) for size in (3, 20)
    )
    assert np.abs(small - large).max() <= 1


def test_weights_are_made_ready_once_for_all_batches_of_a_size(
    weights: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_made_for = []

    def noted(weight: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype) -> Map:
        rows_made_for.append(rows)
        return prepared_linear(weight, bias, rows, dtype)

    monkeypatch.setattr("mimflow.nn.stepper.prepared_linear", noted)
    draw(TASK, weights, tmp_path)  # 23 images, 5 at once, with a null branch each
    blocks, maps = 2, 4
    assert rows_made_for == [10] * blocks * maps + [6] * blocks * maps


@pytest.mark.parametrize(
    "task",
    [
        changed(seed=1),
        changed(samples={"seed": 1}),
        changed(output=TASK.output.model_copy(update={"ema": False})),
    ],
    ids=["seed of the run", "seed of the protocol", "weights of the last step"],
)
def test_other_seeds_and_weights_give_other_images(task: InferTask, weights: Artifact, tmp_path: Path) -> None:
    first, _ = draw(TASK, weights, tmp_path / "first")
    again, _ = draw(TASK, weights, tmp_path / "again")
    other, _ = draw(task, weights, tmp_path / "other")
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


# -- labels --------------------------------------------------------------------------------------------------


def test_balanced_labels_are_as_many_of_each_class_and_mixed(weights: Artifact, tmp_path: Path) -> None:
    _, labels = draw(changed(samples={"count": 90, "batch_size": 45}), weights, tmp_path)
    assert np.bincount(labels).tolist() == [30, 30, 30]
    for third in labels.reshape(3, 30):
        assert np.bincount(third, minlength=3).min() >= 3


def test_what_balanced_labels_leave_over_goes_to_different_classes(weights: Artifact, tmp_path: Path) -> None:
    _, labels = draw(TASK, weights, tmp_path)
    assert sorted(np.bincount(labels)) == [7, 8, 8]


def test_uniform_labels_are_independent_draws(weights: Artifact, tmp_path: Path) -> None:
    _, labels = draw(changed(samples={"labels": "uniform", "count": 90, "batch_size": 45}), weights, tmp_path)
    counts = np.bincount(labels, minlength=3)
    assert counts.min() > 15 and counts.tolist() != [30, 30, 30]


def test_labels_of_a_system_without_classes_are_none(tmp_path: Path) -> None:
    system = System(tokenizer=SYSTEM.tokenizer, prior=TARFLOW.model_copy(update={"class_conditional": False}))
    task = changed(system=system, output=InverseSpec())
    images, labels = draw(task, trained(tmp_path / "weights", system), tmp_path / "work")
    assert set(labels) == {-1}
    assert images.std() > 10


def test_a_prior_that_is_always_conditional_gets_classes(tmp_path: Path) -> None:
    system = System(tokenizer=SYSTEM.tokenizer, prior=ClassGaussianSpec())
    task = changed(system=system, output=InverseSpec())
    _, labels = draw(task, trained(tmp_path / "weights", system), tmp_path / "work")
    assert set(labels) == {0, 1, 2}


# -- eight bits ----------------------------------------------------------------------------------------------


def test_quantisation_is_the_protocols(weights: Artifact, tmp_path: Path) -> None:
    rounded, _ = draw(TASK, weights, tmp_path / "rounded")
    truncated, _ = draw(changed(samples={"quantisation": "truncate"}), weights, tmp_path / "truncated")
    difference = rounded.astype(int) - truncated
    assert set(np.unique(difference)) == {0, 1}


@pytest.mark.fault("not finite")
def test_samples_that_are_not_finite_are_an_error_not_drawn_again(tmp_path: Path) -> None:
    broken = trained(tmp_path / "weights", bias=400.0)
    with pytest.raises(NotFiniteError, match=r"5 of 5 samples are not finite .*on_nonfinite: redraw"):
        draw(TASK, broken, tmp_path / "work")
    assert not (tmp_path / "work" / "out").exists()


def test_only_what_is_not_finite_is_drawn_again(
    weights: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latents are the noise itself, broken where its first number is above 0: half of them, again and again."""

    def latents(sampler: InverseSampler, prior: Prior, labels: Tensor, draws: Draws) -> Tensor:
        noise = prior.noise(draws) / 4
        return torch.where(noise[:, :1, :1] > 0, torch.nan, noise)

    monkeypatch.setattr(InverseSampler, "latents", latents)
    task = changed(output=InverseSpec(on_nonfinite="redraw"))
    facts = run(task, {"weights": weights}, tmp_path, silent())
    images, _ = read_samples(tmp_path / "out" / "samples.npz")
    redrawn = 0
    for number, image in enumerate(images):
        for again in [(), *((attempt,) for attempt in range(1, 11))]:
            noise = Draws([derive(0, 0, "sample", number, *again)]).normal(4, 16) / 4
            if noise[0, 0, 0] <= 0:
                break
            redrawn += 1
        wanted = to_uint8(SystemModules(SYSTEM, SHAPES).module("tokenizer").decode(noise), "round")
        np.testing.assert_array_equal(image, wanted[0])
    assert facts.redrawn == redrawn > 5


@pytest.mark.fault("not finite")
def test_samples_that_never_are_finite_end_the_job(tmp_path: Path) -> None:
    broken = trained(tmp_path / "weights", bias=400.0)
    with pytest.raises(NotFiniteError, match="5 of 5 samples are not finite after 10 more draws"):
        draw(changed(output=TASK.output.model_copy(update={"on_nonfinite": "redraw"})), broken, tmp_path / "work")


# -- going on ------------------------------------------------------------------------------------------------


class Stopping(Progress):
    """Is interrupted once so many batches are done."""

    def __init__(self, after: int):
        super().__init__("sample", stream=io.StringIO())
        self.after = after

    def advance(self, done: int, images: int = 0, **shown: float) -> None:
        super().advance(done, images, **shown)
        if done == self.after:
            raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.mark.fault("work in progress")
def test_an_interrupted_job_goes_on_and_ends_in_the_same_bytes(weights: Artifact, tmp_path: Path) -> None:
    draw(TASK, weights, tmp_path / "whole")
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        run(TASK, {"weights": weights}, work, Stopping(after=2))
    kept = {path: path.stat().st_ino for path in (work / "images.pieces").iterdir()}
    assert len(kept) == 2
    progress = silent()
    run(TASK, {"weights": weights}, work, progress)
    assert contents(work) == contents(tmp_path / "whole")
    assert {path: path.stat().st_ino for path in kept} == kept
    assert "batch 5/5" in progress.stream.getvalue()


def test_a_job_whose_batches_are_all_drawn_only_writes_them(weights: Artifact, tmp_path: Path) -> None:
    draw(TASK, weights, tmp_path)
    before = contents(tmp_path)
    facts = run(TASK, {"weights": weights}, tmp_path, silent())
    assert contents(tmp_path) == before
    assert facts.images_per_second is None


@pytest.mark.fault("work in progress")
@pytest.mark.parametrize("damage", ["shorter", "empty", "flipped bit"])
def test_a_corrupt_batch_is_drawn_again(damage: str, weights: Artifact, tmp_path: Path) -> None:
    draw(TASK, weights, tmp_path)
    before = contents(tmp_path)
    drawn = tmp_path / "images.npy"
    data = bytearray(drawn.read_bytes())
    data[-100] ^= 1
    drawn.write_bytes({"shorter": data[:-1], "empty": b"", "flipped bit": data}[damage])
    run(TASK, {"weights": weights}, tmp_path, silent())
    assert contents(tmp_path) == before


@pytest.mark.fault("work in progress")
def test_batches_that_are_not_all_there_are_not_put_together(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "images.npy", (3, 4, 4, 1), np.dtype(np.uint8), length=2, job="0" * 64)
    claim(rows)
    rows.write(0, np.zeros((2, 4, 4, 1), np.uint8))
    with pytest.raises(ArtifactError, match=r"images\.npy: rows 2–2 missing or corrupt"):
        write_samples(tmp_path / "samples.npz", rows, np.zeros(3, np.int64), rows.shape[1:])
    assert not (tmp_path / "samples.npz").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_is_drawn(weights: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        draw(changed(compute=Compute(device="cuda")), weights, tmp_path)
    assert not any(tmp_path.iterdir())


# -- the picture ---------------------------------------------------------------------------------------------


def test_the_picture_has_a_row_for_each_class(weights: Artifact, tmp_path: Path) -> None:
    images, labels = draw(TASK, weights, tmp_path)
    picture = Image.open(tmp_path / "out" / "grid.png").convert("L")
    factor = 8  # 8 columns of 10 pixels and a margin of 2 are 82: 8 times that is the first above 600
    assert picture.size == (82 * factor, 32 * factor)
    small = np.asarray(picture)[factor // 2 :: factor, factor // 2 :: factor]
    for label in range(3):
        for column, sample in enumerate(images[labels == label]):
            top, left = 2 + 10 * label, 2 + 10 * column
            if column < 8:
                np.testing.assert_array_equal(small[top : top + 8, left : left + 8], sample[:, :, 0])
        here = min(8, (labels == label).sum())
        assert (small[2 + 10 * label : 10 + 10 * label, 10 * here + 2 :] == 255).all()
    assert (small[:2] == 255).all()


def test_the_picture_of_samples_without_classes_is_filled_in_order(tmp_path: Path) -> None:
    system = System(tokenizer=SYSTEM.tokenizer, prior=TARFLOW.model_copy(update={"class_conditional": False}))
    weights = trained(tmp_path / "weights", system)
    images, _ = draw(changed(system=system, output=InverseSpec()), weights, tmp_path / "work")
    picture = Image.open(tmp_path / "work" / "out" / "grid.png").convert("L")
    assert picture.size == (82 * 8, 32 * 8)
    small = np.asarray(picture)[4::8, 4::8]
    np.testing.assert_array_equal(small[12:20, 2:10], images[8, :, :, 0])
