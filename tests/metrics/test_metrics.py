"""Metrics: known answers, torch-fidelity's own numbers, and reasons for none."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from measuring import (
    SCALE,
    BrokenFeatures,
    PixelFeatures,
    as_images,
    context_of,
    gaussian_images,
    measure,
    one_hot_images,
    pixel_extractor,
    value,
)
from parts import flattened, label_of, missing_examples

from mimflow.artifacts.metrics import MetricValue
from mimflow.features.extractors import Extractor
from mimflow.metrics.context import ImageRows
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import (
    ClassAccuracySpec,
    FidSpec,
    IsSpec,
    KidSpec,
    LikelihoodCheckSpec,
    LikelihoodMetricSpec,
    LinearProbeSpec,
    MetricSpec,
    PrecisionRecallSpec,
    PsnrSpec,
    SsimSpec,
)

METRIC_EXAMPLES: dict[str, list[MetricSpec]] = {
    "fid": [FidSpec()],
    "is": [IsSpec(splits=4)],
    "kid": [KidSpec(subset_size=20, subsets=3)],
    "precision_recall": [PrecisionRecallSpec()],
    "class_accuracy": [ClassAccuracySpec()],
    "psnr": [PsnrSpec()],
    "ssim": [SsimSpec()],
    "linear_probe": [LinearProbeSpec()],
    "likelihood": [LikelihoodMetricSpec()],
    "likelihood_check": [LikelihoodCheckSpec()],
}
"""Those that measure no samples have tests of their own: `test_reconstruction.py`, `test_probe.py`, `test_likelihood.py`."""

OF_SAMPLES = [spec for spec in flattened(METRIC_EXAMPLES) if "samples" in spec.measures]
every_metric = pytest.mark.parametrize("spec", OF_SAMPLES, ids=label_of)


# -- every registered metric ---------------------------------------------------------------------------------


def test_every_metric_has_an_example() -> None:
    missing = missing_examples(METRICS, METRIC_EXAMPLES)
    assert not missing, f"add an example of {missing} to METRIC_EXAMPLES in tests/test_metrics.py"


@every_metric
def test_a_metric_reports_what_its_spec_names_and_twice_the_same(spec: MetricSpec, tmp_path: Path) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    first = measure(spec, context_of(samples, reference, tmp_path / "first"))
    assert tuple(first) == spec.reports
    for measurement in first.values():
        assert measurement.reason is None
        assert isinstance(measurement.value, float) and math.isfinite(measurement.value)
    assert first == measure(spec, context_of(samples, reference, tmp_path / "second"))


@pytest.mark.fault("not finite")
@every_metric
def test_features_that_are_not_finite_are_a_reason(spec: MetricSpec, tmp_path: Path) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    samples[:, 0, 0] = 0
    samples[[3, 30], 0, 0] = 255
    broken = pixel_extractor(BrokenFeatures)
    for measurement in measure(spec, context_of(samples, reference, tmp_path, extractor=broken)).values():
        assert measurement.value is None
        assert "of 2 of 60 samples are not finite" in measurement.reason


@pytest.mark.fault("not finite")
@pytest.mark.parametrize("kind", ["fid", "kid", "precision_recall"])
def test_a_reference_that_is_not_finite_is_a_reason(kind: str, tmp_path: Path) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    samples[:, 0, 0] = reference[:, 0, 0] = 0
    reference[7, 0, 0] = 255
    context = context_of(samples, reference, tmp_path, extractor=pixel_extractor(BrokenFeatures))
    for measurement in measure(METRIC_EXAMPLES[kind][0], context).values():
        assert measurement.value is None
        assert "reference images are not finite" in measurement.reason


def test_a_reference_is_looked_at_left_to_right_where_it_is_mirrored(tmp_path: Path) -> None:
    images = gaussian_images(6, 16, seed=0)
    coins = np.array([True, False, False, True, True, False])
    turned = [image[:, ::-1] if coin else image for image, coin in zip(images, coins, strict=True)]
    mirrored = replace(context_of(images, images, tmp_path), reference_mirrored=coins)
    by_hand = context_of(images, np.stack(turned), tmp_path / "turned")
    features = mirrored.reference_features["features"]
    assert torch.equal(features, by_hand.reference_features["features"])
    assert not torch.equal(features, mirrored.sample_features["features"])


def test_numbers_are_those_of_calculate_metrics(tmp_path: Path) -> None:
    if "mimflow-test-pixels" not in torch_fidelity.registry.FEATURE_EXTRACTORS_REGISTRY:
        torch_fidelity.register_feature_extractor("mimflow-test-pixels", PixelFeatures)
    samples, reference = gaussian_images(200, 16, seed=0), gaussian_images(150, 16, seed=1, mean=0.3)
    theirs = torch_fidelity.calculate_metrics(
        input1=ImageRows(samples),
        input2=ImageRows(reference),
        feature_extractor="mimflow-test-pixels",
        **{f"feature_layer_{metric}": "features" for metric in ("fid", "kid", "prc")},
        feature_layer_isc="logits",
        **dict.fromkeys(("isc", "fid", "kid", "prc"), True),
        isc_splits=4,
        kid_subset_size=100,
        kid_subsets=5,
        prc_neighborhood=2,
        cuda=False,
        save_cpu_ram=True,
        verbose=False,
    )
    context = context_of(samples, reference, tmp_path)
    score = measure(IsSpec(splits=4), context)["is"]
    kernel = measure(KidSpec(subset_size=100, subsets=5), context)["kid"]
    manifold = measure(PrecisionRecallSpec(neighbourhood=2), context)
    assert value(FidSpec(), context) == theirs["frechet_inception_distance"]
    assert (score.value, score.std) == (theirs["inception_score_mean"], theirs["inception_score_std"])
    assert (kernel.value, kernel.std) == (
        theirs["kernel_inception_distance_mean"],
        theirs["kernel_inception_distance_std"],
    )
    assert (manifold["precision"].value, manifold["recall"].value) == (theirs["precision"], theirs["recall"])


# -- FID -----------------------------------------------------------------------------------------------------


def root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric positive matrix."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(eigenvalues)) @ vectors.T


def test_fid_of_correlated_gaussians_is_the_closed_form(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mixing = [np.eye(16) + 0.15 * random.standard_normal((16, 16)) for _ in range(2)]
    means = [0.4 * random.standard_normal(16), np.zeros(16)]
    first, second = (matrix @ matrix.T for matrix in mixing)
    expected = np.square(means[0] - means[1]).sum()
    expected += np.trace(first + second - 2 * root(root(first) @ second @ root(first)))
    images = [
        as_images(0.5 * (mean + random.standard_normal((8000, 16)) @ matrix.T))
        for mean, matrix in zip(means, mixing, strict=True)
    ]
    found = value(FidSpec(), context_of(*images, tmp_path))
    assert found == pytest.approx(0.25 * expected, rel=0.03)  # half the features, a quarter of the distance


def test_fid_of_a_set_with_itself_is_nothing(tmp_path: Path) -> None:
    images = gaussian_images(300, 16, seed=0)
    assert value(FidSpec(), context_of(images, images, tmp_path)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("count", "expected"), [(10, 87), (50, 30), (100, 12), (1000, 1.4)])
def test_fid_falls_with_the_number_of_samples(count: int, expected: float, tmp_path: Path) -> None:
    samples, reference = gaussian_images(count, 64, seed=0), gaussian_images(20000, 64, seed=1)
    assert value(FidSpec(), context_of(samples, reference, tmp_path)) == pytest.approx(expected, rel=0.2)


def test_fid_of_one_image_is_a_reason(tmp_path: Path) -> None:
    many, one = gaussian_images(20, 16, seed=0), gaussian_images(1, 16, seed=1)
    few = measure(FidSpec(), context_of(one, many, tmp_path))["fid"]
    assert few == MetricValue(None, reason="1 samples, at least 2 needed")
    few = measure(FidSpec(), context_of(many, one, tmp_path))["fid"]
    assert few == MetricValue(None, reason="1 reference images, at least 2 needed")


# -- Inception score -----------------------------------------------------------------------------------------


def test_is_of_certain_balanced_logits_is_the_number_of_classes(tmp_path: Path) -> None:
    samples = one_hot_images(np.arange(160) % 16)
    found = measure(IsSpec(splits=1), context_of(samples, samples, tmp_path))["is"]
    assert (found.value, found.std) == (pytest.approx(16), 0)


def test_is_of_equal_logits_is_one(tmp_path: Path) -> None:
    samples = np.full((40, 4, 4, 1), 9, np.uint8)
    assert value(IsSpec(splits=4), context_of(samples, samples, tmp_path)) == pytest.approx(1)


def test_is_does_not_fall_when_samples_are_sorted_by_class(tmp_path: Path) -> None:
    labels = np.arange(1600) % 16
    samples, in_order = one_hot_images(labels), one_hot_images(np.sort(labels))
    mixed = value(IsSpec(), context_of(samples, samples, tmp_path))
    found = value(IsSpec(), context_of(in_order, samples, tmp_path))
    assert found == pytest.approx(mixed, rel=0.02)
    assert found > 14  # consecutive splits of sorted samples hold 3 classes at most


def test_is_with_more_splits_than_samples_is_a_reason(tmp_path: Path) -> None:
    samples = gaussian_images(5, 16, seed=0)
    found = measure(IsSpec(splits=10), context_of(samples, samples, tmp_path))["is"]
    assert found == MetricValue(None, reason="5 samples, at least 10 needed")


# -- KID -----------------------------------------------------------------------------------------------------


def test_kid_of_whole_sets_is_the_unbiased_estimate(tmp_path: Path) -> None:
    samples, reference = gaussian_images(50, 16, seed=0), gaussian_images(50, 16, seed=1, mean=0.5)
    x, y = (((images.reshape(50, 16) - 128.0) / SCALE) for images in (samples, reference))
    kernel = [(a @ b.T / 16 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    off_diagonal = [matrix.sum() - np.trace(matrix) for matrix in kernel[:2]]
    expected = sum(off_diagonal) / (50 * 49) - 2 * kernel[2].mean()
    found = measure(KidSpec(subset_size=50, subsets=2), context_of(samples, reference, tmp_path))["kid"]
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.std == pytest.approx(0, abs=1e-5)


def test_kid_of_one_distribution_is_nothing_within_its_spread(tmp_path: Path) -> None:
    samples, reference = gaussian_images(2000, 16, seed=0), gaussian_images(2000, 16, seed=1)
    found = measure(KidSpec(subset_size=200, subsets=50), context_of(samples, reference, tmp_path))["kid"]
    assert abs(found.value) < found.std
    shifted = gaussian_images(2000, 16, seed=0, mean=0.5)
    far = measure(KidSpec(subset_size=200, subsets=50), context_of(shifted, reference, tmp_path))["kid"]
    assert far.value > 10 * found.std


@pytest.mark.parametrize(
    ("samples", "reference", "subset", "reason"),
    [
        (30, 60, 50, "30 samples, at least 50 needed"),
        (60, 30, 50, "30 reference images, at least 50 needed"),
        (30, 30, 1, "subsets of one image have no unbiased estimate"),
    ],
)
def test_kid_without_enough_images_is_a_reason(
    samples: int, reference: int, subset: int, reason: str, tmp_path: Path
) -> None:
    context = context_of(gaussian_images(samples, 16, seed=0), gaussian_images(reference, 16, seed=1), tmp_path)
    assert measure(KidSpec(subset_size=subset), context)["kid"] == MetricValue(None, reason=reason)


# -- precision and recall ------------------------------------------------------------------------------------


def precision_and_recall(samples: np.ndarray, reference: np.ndarray, cache: Path) -> tuple[float | None, float | None]:
    found = measure(PrecisionRecallSpec(), context_of(samples, reference, cache))
    return found["precision"].value, found["recall"].value


def test_precision_and_recall_of_equal_and_of_disjoint_sets(tmp_path: Path) -> None:
    images, far = gaussian_images(200, 16, seed=0, std=0.3), gaussian_images(200, 16, seed=1, mean=3, std=0.3)
    assert precision_and_recall(images, images, tmp_path) == (1, 1)
    assert precision_and_recall(images, far, tmp_path) == (0, 0)


def test_samples_of_one_of_two_modes_are_precise_without_recall(tmp_path: Path) -> None:
    near, far = gaussian_images(200, 16, seed=0, std=0.1), gaussian_images(200, 16, seed=1, mean=3, std=0.1)
    both = np.concatenate([near, far])
    assert precision_and_recall(near, both, tmp_path) == (1, 0.5)
    assert precision_and_recall(both, near, tmp_path) == (0.5, 1)


def test_precision_needs_more_images_than_neighbours(tmp_path: Path) -> None:
    context = context_of(gaussian_images(3, 16, seed=0), gaussian_images(9, 16, seed=1), tmp_path)
    for measurement in measure(PrecisionRecallSpec(neighbourhood=3), context).values():
        assert measurement == MetricValue(None, reason="3 samples, at least 4 needed")


# -- class accuracy ------------------------------------------------------------------------------------------


def test_class_accuracy_counts_exactly(tmp_path: Path) -> None:
    labels = np.arange(80) % 16
    samples = one_hot_images(labels)
    asked = labels.copy()
    asked[:6] += 1
    assert value(ClassAccuracySpec(), context_of(samples, samples, tmp_path, labels=asked)) == 74 / 80


def test_class_accuracy_without_classes_is_a_reason(tmp_path: Path) -> None:
    samples = one_hot_images(np.arange(16))
    found = measure(ClassAccuracySpec(), context_of(samples, samples, tmp_path, labels=np.full(16, -1)))
    assert found["class_accuracy"].reason == "the samples were drawn without a class"
    other = Extractor(pixel_extractor().module, "features", "logits", classifies=False, facts={})
    found = measure(ClassAccuracySpec(), context_of(samples, samples, tmp_path, extractor=other))
    assert found["class_accuracy"].reason == "the extractor does not know the data's classes"


# -- the cache -----------------------------------------------------------------------------------------------


def test_cached_reference_gives_equal_numbers_without_the_images(tmp_path: Path) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    specs = [METRIC_EXAMPLES[kind][0] for kind in ("fid", "kid", "precision_recall")]
    first = context_of(samples, reference, tmp_path)
    numbers = [measure(spec, first) for spec in specs]
    absent = replace(first, reference=np.zeros_like(reference))
    assert [measure(spec, absent) for spec in specs] == numbers


@pytest.mark.fault("caches")
def test_the_cache_does_not_mix_extractors_or_references(tmp_path: Path) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    shifted = gaussian_images(50, 16, seed=1, mean=1)
    shared = tmp_path / "shared"
    doubled = pixel_extractor(name="pixels-doubled", scale=SCALE / 2)
    fid = value(FidSpec(), context_of(samples, reference, shared))
    assert value(FidSpec(), context_of(samples, reference, shared, extractor=doubled)) == pytest.approx(4 * fid)
    far = value(FidSpec(), context_of(samples, shifted, shared))
    assert far == value(FidSpec(), context_of(samples, shifted, tmp_path / "alone")) > fid + 10


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def pickle_code(path: Path) -> None:
    torch.save(Malicious(path.with_name("executed")), path)


def pickle_code_with_its_digest(path: Path) -> None:
    pickle_code(path)
    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())


def lose_the_digest(path: Path) -> None:
    path.with_suffix(".sha256").unlink()


def mix_up_the_digest(path: Path) -> None:
    path.with_suffix(".sha256").write_text("0" * 64)


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


DAMAGES = [flip_a_bit, truncate, pickle_code, pickle_code_with_its_digest, lose_the_digest, mix_up_the_digest]


@pytest.mark.fault("caches")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_anew_and_said(damage: Callable[[Path], None], tmp_path: Path) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    specs = [METRIC_EXAMPLES[kind][0] for kind in ("fid", "kid", "precision_recall")]
    numbers = [measure(spec, context_of(samples, reference, tmp_path)) for spec in specs]
    (file,) = tmp_path.glob("*.safetensors")
    whole = file.read_bytes()
    damage(file)
    said: list[str] = []
    again = context_of(samples, reference, tmp_path, say=said.append)
    assert [measure(spec, again) for spec in specs] == numbers
    assert said == [f"{file}: damaged: made anew"]
    assert file.read_bytes() == whole
    assert not (tmp_path / "executed").exists()


@pytest.mark.fault("caches")
def test_kept_features_of_another_reference_are_not_taken(tmp_path: Path) -> None:
    """A whole file, its digest beside it, under a name that is not its own."""
    samples, reference, other = (gaussian_images(50, 16, seed=seed) for seed in range(3))
    fid = value(FidSpec(), context_of(samples, reference, tmp_path / "a"))
    value(FidSpec(), context_of(samples, other, tmp_path / "b"))
    (mine,), (theirs,) = (list((tmp_path / name).glob("*.safetensors")) for name in "ab")
    for suffix in (".safetensors", ".sha256"):
        shutil.copy(theirs.with_suffix(suffix), mine.with_suffix(suffix))
    said: list[str] = []
    assert value(FidSpec(), context_of(samples, reference, tmp_path / "a", say=said.append)) == fid
    assert said == [f"{mine}: of something else: made anew"]
