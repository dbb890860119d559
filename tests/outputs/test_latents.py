"""Latents, interpolations and bands of a system whose latents are pixels, which makes them known."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import data_facts, store_artifact, train_facts
from scipy import ndimage

from mimflow.artifacts.curves import read_curves
from mimflow.artifacts.latents import read_latents
from mimflow.artifacts.manifest import Artifact
from mimflow.artifacts.metrics import read_metrics
from mimflow.artifacts.samples import read_samples
from mimflow.compute.spec import Compute
from mimflow.contents.registry import CONTENTS
from mimflow.features.spec import ClassifierExtractorSpec
from mimflow.metrics.reference.spec import SplitReferenceSpec
from mimflow.metrics.spec import MetricSpec
from mimflow.metrics.spectra.spec import (
    AutocorrelationSpec,
    BandErrorSpec,
    ImageSpectrumSpec,
    LatentMomentsSpec,
    LatentSpectrumSpec,
    MseSpec,
    PatchArtifactsSpec,
)
from mimflow.outputs.band.spec import BandSpec
from mimflow.outputs.drawing import Samples
from mimflow.outputs.interpolation.output import linear, spherical
from mimflow.outputs.interpolation.spec import InterpolationSpec
from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.outputs.latents.spec import DataLatents, LatentsSpec, PriorLatents
from mimflow.outputs.spec import OutputSpec
from mimflow.priors.class_gaussian.spec import ClassGaussianSpec
from mimflow.priors.tarflow.spec import TarflowSpec
from mimflow.progress import Progress
from mimflow.spec.noise import AdditiveNoise
from mimflow.spec.weights import RunWeights
from mimflow.stages import evaluate, infer
from mimflow.system.modules import SystemModules
from mimflow.system.spec import Shapes, System
from mimflow.tasks import EvaluateTask, InferTask
from mimflow.tokenizers.pixel.spec import PixelTokenizerSpec
from mimflow.weights.tensors import save_state

SHAPES = Shapes(channels=1, size=8, num_classes=3)
SYSTEM = System(tokenizer=PixelTokenizerSpec(patch_size=1), prior=ClassGaussianSpec())
FLOW = System(tokenizer=PixelTokenizerSpec(patch_size=2), prior=TarflowSpec(width=8, head_width=4, blocks=[1, 1]))
IMAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8, 1), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0])
UNIT = IMAGES / 127.5 - 1
"""What networks see."""


def stored(folder: Path, system: System) -> dict[str, Artifact]:
    (folder / "data").mkdir(parents=True)
    for split in ("train", "val"):
        np.save(folder / "data" / f"{split}.images.npy", IMAGES)
        np.save(folder / "data" / f"{split}.labels.npy", LABELS)
    data = store_artifact(folder / "data", stage="prepare", name="t", facts=data_facts("012", train=12, val=12))
    save_state(SystemModules(system, SHAPES).state_dict(), folder / "weights" / "weights.safetensors")
    return {"data": data, "weights": store_artifact(folder / "weights", stage="train", name="t.main.s0")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return stored(tmp_path_factory.mktemp("pixels"), SYSTEM)


def drawn(inputs: dict[str, Artifact], work: Path, spec: OutputSpec, system: System = SYSTEM, count: int = 30) -> Path:
    samples = CONTENTS[spec.content].drawing(Samples(count=count, batch_size=7))
    task = InferTask(shapes=SHAPES, system=system, output=spec, samples=samples, seed=0, compute=Compute(device="cpu"))
    infer.run(task, inputs, work, Progress("infer", stream=io.StringIO()))
    return work / "out"


# -- latents ---------------------------------------------------------------------------------------------------------


def test_latents_of_the_data_are_in_its_order_on_their_grid(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    latents, labels = read_latents(drawn(inputs, tmp_path, LatentsSpec(ema=False)) / "latents.npz")
    assert latents.dtype == np.float32 and latents.shape == (12, 1, 8, 8)
    assert latents[:, 0] == pytest.approx(UNIT[..., 0], abs=1e-6)
    assert labels.tolist() == LABELS.tolist()


def test_channels_of_a_token_are_channels_of_the_map(tmp_path: Path) -> None:
    """Patches of 2 × 2 run (row, column) within a token: channel 1 is their upper right pixel."""
    latents, _ = read_latents(
        drawn(stored(tmp_path / "in", FLOW), tmp_path / "work", LatentsSpec(ema=False), FLOW) / "latents.npz"
    )
    assert latents.shape == (12, 4, 4, 4)
    assert latents[:, 1] == pytest.approx(UNIT[:, ::2, 1::2, 0], abs=1e-6)


def test_noise_on_latents_is_what_the_spec_says(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    spec = LatentsSpec(ema=False, of=DataLatents(noise=AdditiveNoise(std=0.3), split="train"))
    latents, _ = read_latents(drawn(inputs, tmp_path, spec) / "latents.npz")
    assert (latents[:, 0] - UNIT[..., 0]).std() == pytest.approx(0.3, rel=0.1)


def test_a_priors_latents_are_those_whose_samples_a_sampler_draws(tmp_path: Path) -> None:
    given = stored(tmp_path / "in", FLOW)
    sampler = InverseSpec(noise_temperature=0.3)
    latents, labels = read_latents(
        drawn(given, tmp_path / "l", LatentsSpec(ema=False, of=PriorLatents(sampler=sampler)), FLOW) / "latents.npz"
    )
    images, theirs = read_samples(
        drawn(given, tmp_path / "s", sampler.model_copy(update={"ema": False}), FLOW) / "samples.npz"
    )
    assert len(latents) == 30 and labels.tolist() == theirs.tolist()
    pixels = torch.pixel_shuffle(torch.from_numpy(latents), 2).numpy().clip(-1, 1)
    assert images[..., 0] == pytest.approx(np.rint((pixels[:, 0] + 1) * 127.5), abs=1)


# -- interpolations --------------------------------------------------------------------------------------------------


def pairs_of(out: Path, steps: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_samples(out / "samples.npz")
    return images.reshape(-1, steps, 8, 8).astype(float), labels.reshape(-1, steps)


def place(image: np.ndarray) -> int:
    (found,) = np.flatnonzero((IMAGES[..., 0] == image).all((1, 2)))
    return int(found)


def test_an_interpolation_leads_from_one_image_to_another_in_even_steps(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    out = drawn(inputs, tmp_path, InterpolationSpec(ema=False, pairs=8, steps=5))
    images, labels = pairs_of(out, 5)
    ends = [(place(pair[0]), place(pair[-1])) for pair in images]
    assert len(images) == 8 and all(one != other for one, other in ends)
    assert len({one for one, _ in ends}) == 8
    for share in (1, 2, 3):
        mixed = (1 - share / 4) * images[:, 0] + share / 4 * images[:, -1]
        assert images[:, share] == pytest.approx(mixed, abs=0.51)
    for (one, other), classes in zip(ends, labels, strict=True):
        assert classes.tolist() == [LABELS[one]] * 3 + [LABELS[other]] * 2
    strip, along = read_samples(out / "strip.npz")
    assert along.tolist() == [0, 1, 2, 3, 4] * 8
    assert strip.reshape(8, 5, 8, 8) == pytest.approx(images)


def test_pairs_are_of_one_class_or_of_two_where_that_is_asked(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    for classes in ("same", "different"):
        spec = InterpolationSpec(ema=False, pairs=20, steps=3, classes=classes)
        images, _ = pairs_of(drawn(inputs, tmp_path / classes, spec), 3)
        same = [LABELS[place(pair[0])] == LABELS[place(pair[-1])] for pair in images]
        assert all(same) if classes == "same" else not any(same)


def test_through_the_noise_of_a_flow_the_ends_come_back(tmp_path: Path) -> None:
    spec = InterpolationSpec(ema=False, pairs=4, steps=3, classes="same", space="noise", method="spherical")
    images, _ = pairs_of(drawn(stored(tmp_path / "in", FLOW), tmp_path / "work", spec, FLOW), 3)
    for pair in images:
        for end in (pair[0], pair[-1]):
            assert np.abs(IMAGES[..., 0] - end).max((1, 2)).min() <= 1


def test_the_great_circle_keeps_lengths_and_halves_angles() -> None:
    one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    half = spherical(one, other, torch.tensor([[0.5]]))
    assert half.tolist()[0] == pytest.approx([3 / math.sqrt(2)] * 2)
    third = spherical(one, other, torch.tensor([[1 / 3]]))
    assert third.tolist()[0] == pytest.approx([3 * math.cos(math.pi / 6), 1.5], rel=1e-6)
    assert linear(one, other, torch.tensor([[0.5]])).tolist() == [[1.5, 1.5]]
    assert spherical(one, 2 * one, torch.tensor([[0.25]])).tolist() == [[3.75, 0.0]]


def test_a_heading_says_how_they_are_made_where_that_is_not_the_default() -> None:
    content = CONTENTS["interpolations"]
    curved = InterpolationSpec(method="spherical", space="noise", classes="same")
    assert content.heading("walk", [InterpolationSpec(), InterpolationSpec(pairs=3)]) == "Interpolation"
    assert content.heading("walk", [curved]) == "Interpolation, spherical, of noise"
    assert content.heading("walk", [curved, InterpolationSpec()]) == "Interpolation"


# -- bands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["low", "high"])
def test_a_band_is_filtered_as_mimflows_tools_do(inputs: dict[str, Artifact], tmp_path: Path, which: str) -> None:
    """Pixels are their own latents: what comes back is what went in."""
    out = drawn(inputs, tmp_path, BandSpec(ema=False, band=which, window=5))
    images, labels = read_samples(out / "samples.npz")
    low = ndimage.uniform_filter(IMAGES[..., 0] / 255, (0, 5, 5), mode="constant")
    expected = low if which == "low" else (IMAGES[..., 0] / 255 - low + 0.5).clip(0, 1)
    assert images[..., 0] == pytest.approx(255 * expected, abs=0.51)
    assert labels.tolist() == LABELS.tolist()


# -- evaluations -----------------------------------------------------------------------------------------------------


def measure(
    inputs: dict[str, Artifact], work: Path, output: OutputSpec, metrics: list[MetricSpec]
) -> tuple[dict[str, float | None], Artifact]:
    """An output measured by the evaluate stage; the extractor is never asked, but where there are images it is there."""
    task = InferTask(
        shapes=SHAPES,
        system=SYSTEM,
        output=output,
        samples=CONTENTS[output.content].drawing(Samples(count=30)),
        seed=0,
        compute=Compute(device="cpu"),
    )
    infer.run(task, inputs, work / "infer", Progress("infer", stream=io.StringIO()))
    made = store_artifact(work / "infer" / "out", stage="infer", name="t.s0.o", task=task.identity())
    content = CONTENTS[output.content]
    system, given = None, {"output": made}
    if content.extracts:
        judge = System.model_validate({"classifier": {"kind": "convnet", "widths": [4], "features": 4}})
        save_state(SystemModules(judge, SHAPES).state_dict(), work / "judge" / "weights.safetensors")
        system = judge
        given |= {"extractor": store_artifact(work / "judge", stage="train", name="judge.main.s0", facts=train_facts())}
        given |= {"data": inputs["data"]}
    found = EvaluateTask(
        content=content.name,
        shapes=SHAPES,
        extractor=ClassifierExtractorSpec(weights=RunWeights(run="judge")) if content.extracts else None,
        extractor_system=system,
        metrics=metrics,
        reference=content.reference(output, SplitReferenceSpec()),
        compute=Compute(device="cpu"),
    )
    facts = evaluate.run(found, given, work / "evaluate", Progress("evaluate", stream=io.StringIO()))
    assert content.measured(facts)
    artifact = store_artifact(work / "evaluate" / "out", stage="evaluate", name="t.s0.o.p", facts=facts)
    values, _ = read_metrics(artifact)
    return {name: number.value for name, number in values.items()}, artifact


def test_latents_are_measured_and_curves_lie_beside_the_numbers(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = [LatentMomentsSpec(), AutocorrelationSpec(), LatentSpectrumSpec()]
    values, artifact = measure(inputs, tmp_path / "w", LatentsSpec(ema=False), metrics)
    assert values["latent_std"] == pytest.approx(UNIT.std(), rel=1e-5)
    curves = read_curves(artifact)
    assert set(curves) == {"autocorrelation_curve", "latent_spectrum_1d", "latent_spectrum_2d"}
    assert curves["autocorrelation_curve"].values[0] == pytest.approx(values["autocorrelation"])
    assert curves["latent_spectrum_2d"].places.tolist() == [0.125, 0.25, 0.375, 0.5]


def test_numbers_without_curves_leave_no_file(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, artifact = measure(inputs, tmp_path / "w", LatentsSpec(ema=False), [LatentMomentsSpec()])
    assert set(artifact.manifest.files) == {"metrics.json"} and read_curves(artifact) == {}


def test_bands_are_compared_with_bands_and_interpolations_with_their_split(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values, _ = measure(inputs, tmp_path / "b", BandSpec(ema=False, band="high", window=5), [MseSpec()])
    assert values["mse"] < (1 / 255) ** 2, "pixels come back as they are, but for rounding"
    metrics = [ImageSpectrumSpec(), PatchArtifactsSpec(patch_size=2)]
    values, _ = measure(inputs, tmp_path / "i", InterpolationSpec(ema=False, pairs=12, steps=5), metrics)
    assert values["spectrum_high"] < -1, "the mean of two images of noise has half their power"
    assert values["blockiness"] == pytest.approx(1, abs=0.2)


# -- what specs may ask ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "system", "expected"),
    [
        (LatentsSpec(), System(), "kind: a system without a tokenizer has no latents"),
        (LatentsSpec(of=DataLatents(masked=True)), FLOW, "of.masked: this tokenizer masks nothing"),
        (LatentsSpec(of=DataLatents(posterior="sample")), FLOW, "of.posterior: this tokenizer's latents are no draws"),
        (
            LatentsSpec(of=PriorLatents(sampler=InverseSpec(ema=False))),
            FLOW,
            "of.sampler.ema: the output says which weights are taken",
        ),
        (
            LatentsSpec(of=PriorLatents(sampler=InverseSpec(on_nonfinite="redraw"))),
            FLOW,
            "of.sampler.on_nonfinite: latents are not drawn anew",
        ),
        (
            LatentsSpec(of=PriorLatents(sampler=InverseSpec())),
            System(tokenizer=PixelTokenizerSpec(patch_size=1)),
            "of.sampler.kind: 'inverse' draws from a prior, and the system has none",
        ),
        (
            InterpolationSpec(space="noise"),
            System(tokenizer=PixelTokenizerSpec(patch_size=1)),
            "space: the noise of a flow without noise levels is mixed, and there is none",
        ),
        (InterpolationSpec(space="noise"), FLOW, "classes: a flow that takes classes is run backwards with one"),
        (BandSpec(band="low"), System(), "kind: a system without a tokenizer reconstructs nothing"),
    ],
)
def test_what_a_system_can_not_give_is_refused(spec: OutputSpec, system: System, expected: str) -> None:
    (problem,) = spec.system_problems(system)
    assert f"{'.'.join(map(str, problem.path))}: {problem.message}" == expected and problem.hint


def test_a_window_has_a_middle() -> None:
    for spec in (BandSpec(band="low", window=4), BandErrorSpec(window=4)):
        (problem,) = spec.problems()
        assert (problem.path, problem.message, problem.hint) == (("window",), "4 has no middle", "an odd number")
