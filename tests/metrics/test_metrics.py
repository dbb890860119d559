"""Metrics: known answers, torch-fidelity's own numbers, and reasons for none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from measuring import (
    SCALE,
    BrokenFeatures,
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
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import (
    ClassAccuracySpec,
    FidSpec,
    IsSpec,
    KidSpec,
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
}
"""Those that measure no samples have tests of their own: `test_reconstruction.py`, `test_probe.py`."""

OF_SAMPLES = [spec for spec in flattened(METRIC_EXAMPLES) if "samples" in spec.measures]
every_metric = pytest.mark.parametrize("spec", OF_SAMPLES, ids=label_of)


# -- every registered metric ---------------------------------------------------------------------------------


def test_every_metric_has_an_example() -> None:
    missing = missing_examples(METRICS, METRIC_EXAMPLES)
    assert not missing, f"add an example of {missing} to METRIC_EXAMPLES in tests/test_metrics.py"


@every_metric
def test_a_metric_reports_what_its_spec_names_and_twice_the_same(spec: MetricSpec) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    first = measure(spec, context_of(samples, reference))
    assert tuple(first) == spec.reports
    for measurement in first.values():
        assert measurement.reason is None
        assert isinstance(measurement.value, float) and math.isfinite(measurement.value)
    assert first == measure(spec, context_of(samples, reference))


@pytest.mark.fault("not finite")
@every_metric
def test_features_that_are_not_finite_are_a_reason(spec: MetricSpec) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    samples[:, 0, 0] = 0
    samples[[3, 30], 0, 0] = 255
    broken = pixel_extractor(BrokenFeatures)
    for measurement in measure(spec, context_of(samples, reference, extractor=broken)).values():
        assert measurement.value is None
        assert "of 2 of 60 samples are not finite" in measurement.reason


@pytest.mark.fault("not finite")
@pytest.mark.parametrize("kind", ["fid", "kid", "precision_recall"])
def test_a_reference_that_is_not_finite_is_a_reason(kind: str) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    samples[:, 0, 0] = reference[:, 0, 0] = 0
    reference[7, 0, 0] = 255
    context = context_of(samples, reference, extractor=pixel_extractor(BrokenFeatures))
    for measurement in measure(METRIC_EXAMPLES[kind][0], context).values():
        assert measurement.value is None
        assert "reference images are not finite" in measurement.reason


# -- FID -----------------------------------------------------------------------------------------------------


def root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric positive matrix."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(eigenvalues)) @ vectors.T


def test_fid_of_correlated_gaussians_is_the_closed_form() -> None:
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
    found = value(FidSpec(), context_of(*images))
    assert found == pytest.approx(0.25 * expected, rel=0.03)  # half the features, a quarter of the distance


def test_fid_of_a_set_with_itself_is_nothing() -> None:
    images = gaussian_images(300, 16, seed=0)
    assert value(FidSpec(), context_of(images, images)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("count", "expected"), [(10, 87), (50, 30), (100, 12), (1000, 1.4)])
def test_fid_falls_with_the_number_of_samples(count: int, expected: float) -> None:
    samples, reference = gaussian_images(count, 64, seed=0), gaussian_images(20000, 64, seed=1)
    assert value(FidSpec(), context_of(samples, reference)) == pytest.approx(expected, rel=0.2)


def test_fid_of_one_image_is_a_reason() -> None:
    many, one = gaussian_images(20, 16, seed=0), gaussian_images(1, 16, seed=1)
    few = measure(FidSpec(), context_of(one, many))["fid"]
    assert few == MetricValue(None, reason="1 samples, at least 2 needed")
    few = measure(FidSpec(), context_of(many, one))["fid"]
    assert few == MetricValue(None, reason="1 reference images, at least 2 needed")


# -- Inception score -----------------------------------------------------------------------------------------


def test_is_of_certain_balanced_logits_is_the_number_of_classes() -> None:
    samples = one_hot_images(np.arange(160) % 16)
    found = measure(IsSpec(splits=1), context_of(samples, samples))["is"]
    assert (found.value, found.std) == (pytest.approx(16), 0)


def test_is_of_equal_logits_is_one() -> None:
    samples = np.full((40, 4, 4, 1), 9, np.uint8)
    assert value(IsSpec(splits=4), context_of(samples, samples)) == pytest.approx(1)


def test_is_does_not_fall_when_samples_are_sorted_by_class() -> None:
    labels = np.arange(1600) % 16
    samples, in_order = one_hot_images(labels), one_hot_images(np.sort(labels))
    mixed = value(IsSpec(), context_of(samples, samples))
    found = value(IsSpec(), context_of(in_order, samples))
    assert found == pytest.approx(mixed, rel=0.02)
    assert found > 14  # consecutive splits of sorted samples hold 3 classes at most


def test_is_with_more_splits_than_samples_is_a_reason() -> None:
    samples = gaussian_images(5, 16, seed=0)
    found = measure(IsSpec(splits=10), context_of(samples, samples))["is"]
    assert found == MetricValue(None, reason="5 samples, at least 10 needed")


# -- KID -----------------------------------------------------------------------------------------------------


def test_kid_of_whole_sets_is_the_unbiased_estimate() -> None:
    samples, reference = gaussian_images(50, 16, seed=0), gaussian_images(50, 16, seed=1, mean=0.5)
    x, y = (((images.reshape(50, 16) - 128.0) / SCALE) for images in (samples, reference))
    kernel = [(a @ b.T / 16 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    off_diagonal = [matrix.sum() - np.trace(matrix) for matrix in kernel[:2]]
    expected = sum(off_diagonal) / (50 * 49) - 2 * kernel[2].mean()
    found = measure(KidSpec(subset_size=50, subsets=2), context_of(samples, reference))["kid"]
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.std == pytest.approx(0, abs=1e-5)


def test_kid_of_one_distribution_is_nothing_within_its_spread() -> None:
    samples, reference = gaussian_images(2000, 16, seed=0), gaussian_images(2000, 16, seed=1)
    found = measure(KidSpec(subset_size=200, subsets=50), context_of(samples, reference))["kid"]
    assert abs(found.value) < found.std
    shifted = gaussian_images(2000, 16, seed=0, mean=0.5)
    far = measure(KidSpec(subset_size=200, subsets=50), context_of(shifted, reference))["kid"]
    assert far.value > 10 * found.std


@pytest.mark.parametrize(
    ("samples", "reference", "subset", "reason"),
    [
        (30, 60, 50, "30 samples, at least 50 needed"),
        (60, 30, 50, "30 reference images, at least 50 needed"),
        (30, 30, 1, "subsets of one image have no unbiased estimate"),
    ],
)
def test_kid_without_enough_images_is_a_reason(samples: int, reference: int, subset: int, reason: str) -> None:
    context = context_of(gaussian_images(samples, 16, seed=0), gaussian_images(reference, 16, seed=1))
    assert measure(KidSpec(subset_size=subset), context)["kid"] == MetricValue(None, reason=reason)


# -- precision and recall ------------------------------------------------------------------------------------


def precision_and_recall(samples: np.ndarray, reference: np.ndarray) -> tuple[float | None, float | None]:
    found = measure(PrecisionRecallSpec(), context_of(samples, reference))
    return found["precision"].value, found["recall"].value


def test_precision_and_recall_of_equal_and_of_disjoint_sets() -> None:
    images, far = gaussian_images(200, 16, seed=0, std=0.3), gaussian_images(200, 16, seed=1, mean=3, std=0.3)
    assert precision_and_recall(images, images) == (1, 1)
    assert precision_and_recall(images, far) == (0, 0)


def test_samples_of_one_of_two_modes_are_precise_without_recall() -> None:
    near, far = gaussian_images(200, 16, seed=0, std=0.1), gaussian_images(200, 16, seed=1, mean=3, std=0.1)
    both = np.concatenate([near, far])
    assert precision_and_recall(near, both) == (1, 0.5)
    assert precision_and_recall(both, near) == (0.5, 1)


def test_precision_needs_more_images_than_neighbours() -> None:
    context = context_of(gaussian_images(3, 16, seed=0), gaussian_images(9, 16, seed=1))
    for measurement in measure(PrecisionRecallSpec(neighbourhood=3), context).values():
        assert measurement == MetricValue(None, reason="3 samples, at least 4 needed")


# -- class accuracy ------------------------------------------------------------------------------------------


def test_class_accuracy_counts_exactly() -> None:
    labels = np.arange(80) % 16
    samples = one_hot_images(labels)
    asked = labels.copy()
    asked[:6] += 1
    assert value(ClassAccuracySpec(), context_of(samples, samples, labels=asked)) == 74 / 80


def test_class_accuracy_without_classes_is_a_reason() -> None:
    samples = one_hot_images(np.arange(16))
    found = measure(ClassAccuracySpec(), context_of(samples, samples, labels=np.full(16, -1)))
    assert found["class_accuracy"].reason == "the samples were drawn without a class"
    other = Extractor(pixel_extractor().module, "features", "logits", classifies=False, facts={})
    found = measure(ClassAccuracySpec(), context_of(samples, samples, extractor=other))
    assert found["class_accuracy"].reason == "the extractor does not know the data's classes"
