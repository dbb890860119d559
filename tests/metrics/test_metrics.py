"""Metrics: known answers by hand and by other libraries, and reasons for none."""

from __future__ import annotations

import math
from dataclasses import replace

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
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.preprocessing import normalize

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.likelihood_spec import LikelihoodCheckSpec, LikelihoodMetricSpec
from mimflow.metrics.perceptual_spec import LpipsAlexSpec, LpipsVggSpec, PerceptualSpec
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import (
    ClassAccuracySpec,
    CmmdSpec,
    DensityCoverageSpec,
    FidSpec,
    IsSpec,
    KidSpec,
    LinearProbeSpec,
    MetricSpec,
    PrecisionRecallSpec,
    PsnrSpec,
    SamplingSpeedSpec,
    SfidSpec,
    SsimSpec,
)
from mimflow.metrics.spectra.spec import (
    AutocorrelationSpec,
    BandErrorSpec,
    HighFrequencySpec,
    ImageSpectrumSpec,
    LatentMomentsSpec,
    LatentSpectrumSpec,
    MseSpec,
    PatchArtifactsSpec,
    SpectralEntropySpec,
    TotalVariationSpec,
)
from mimflow.spec.weights import FileWeights

ABSENT = FileWeights(file="weights/gone.pth", sha256="0" * 64)

METRIC_EXAMPLES: dict[str, list[MetricSpec]] = {
    "fid": [FidSpec()],
    "sfid": [SfidSpec()],
    "is": [IsSpec(splits=4)],
    "kid": [KidSpec(subset_size=20, subsets=3)],
    "cmmd": [CmmdSpec()],
    "precision_recall": [PrecisionRecallSpec()],
    "density_coverage": [DensityCoverageSpec()],
    "class_accuracy": [ClassAccuracySpec()],
    "sampling_speed": [SamplingSpeedSpec()],
    "psnr": [PsnrSpec()],
    "ssim": [SsimSpec()],
    "lpips_alex": [LpipsAlexSpec(alex=ABSENT)],
    "lpips_vgg": [LpipsVggSpec(vgg=ABSENT)],
    "perceptual": [PerceptualSpec()],
    "linear_probe": [LinearProbeSpec()],
    "latent_moments": [LatentMomentsSpec()],
    "spectral_entropy": [SpectralEntropySpec()],
    "high_frequency": [HighFrequencySpec()],
    "total_variation": [TotalVariationSpec()],
    "autocorrelation": [AutocorrelationSpec()],
    "latent_spectrum": [LatentSpectrumSpec()],
    "image_spectrum": [ImageSpectrumSpec()],
    "patch_artifacts": [PatchArtifactsSpec(patch_size=2)],
    "mse": [MseSpec()],
    "band_error": [BandErrorSpec()],
    "likelihood": [LikelihoodMetricSpec()],
    "likelihood_check": [LikelihoodCheckSpec()],
}
"""Those that measure no samples have tests of their own: `test_perceptual.py`, `test_probe.py`, `test_likelihood.py`."""

OF_SAMPLES = [spec for spec in flattened(METRIC_EXAMPLES) if "samples" in spec.measures and spec.layer is not None]
"""Those of images' spectra and patches, and of the time that they took, look through no extractor: `test_spectra.py`."""
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
@pytest.mark.parametrize("kind", ["fid", "sfid", "kid", "cmmd", "precision_recall", "density_coverage"])
def test_a_reference_that_is_not_finite_is_a_reason(kind: str) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    samples[:, 0, 0] = reference[:, 0, 0] = 0
    reference[7, 0, 0] = 255
    context = context_of(samples, reference, extractor=pixel_extractor(BrokenFeatures))
    for measurement in measure(METRIC_EXAMPLES[kind][0], context).values():
        assert measurement.value is None
        assert "reference images are not finite" in measurement.reason


@pytest.mark.parametrize("spec", [IsSpec(splits=4), KidSpec(subset_size=20, subsets=3)], ids=label_of)
def test_subsets_do_not_depend_on_the_order_of_images(spec: MetricSpec) -> None:
    samples, reference = gaussian_images(60, 16, seed=0), gaussian_images(50, 16, seed=1)
    first = measure(spec, context_of(samples, reference))
    turned = measure(spec, context_of(samples[::-1], reference[::-1]))
    assert turned == first
    other = measure(spec, context_of(gaussian_images(60, 16, seed=2), reference))
    assert other != first


def test_labels_follow_their_images() -> None:
    labels = np.arange(60) % 16
    samples = one_hot_images(labels) // 2 + np.arange(60, dtype=np.uint8)[:, None, None, None]  # no two are the same
    right = np.where(np.arange(60) < 45, labels, (labels + 1) % 16)
    assert value(ClassAccuracySpec(), context_of(samples, samples, labels=right)) == 0.75


def test_the_speed_of_sampling_is_that_which_was_timed_or_a_reason() -> None:
    images = gaussian_images(20, 16, seed=0)
    timed = replace(context_of(images, images), images_per_second=12.5)
    assert value(SamplingSpeedSpec(), timed, "images_per_second") == 12.5
    found = measure(SamplingSpeedSpec(), context_of(images, images))["images_per_second"]
    assert found == MetricValue(None, reason="the attempt that ended drew none of the samples")


# -- FID -----------------------------------------------------------------------------------------------------


def test_sfid_is_the_distance_of_spatial_features_alone() -> None:
    """Pixels with even numbers are the spatial features here; the others differ by as much as they like."""
    samples, reference = gaussian_images(300, 16, seed=0), gaussian_images(200, 16, seed=1, mean=0.3)
    found = value(SfidSpec(), context_of(samples, reference))
    even = [images.reshape(-1, 16)[:, ::2].reshape(-1, 8, 1, 1) for images in (samples, reference)]
    assert found == pytest.approx(value(FidSpec(), context_of(*even)))
    assert found != pytest.approx(value(FidSpec(), context_of(samples, reference)))


def test_sfid_without_spatial_features_is_a_reason() -> None:
    images = gaussian_images(20, 16, seed=0)
    flat = replace(pixel_extractor(), spatial=None)
    found = measure(SfidSpec(), context_of(images, images, extractor=flat))["sfid"]
    assert found == MetricValue(None, reason="the extractor gives no spatial features")


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
    kernel = [polynomial_kernel(a, b, degree=3, gamma=1 / 16, coef0=1) for a, b in ((x, x), (y, y), (x, y))]
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


def test_kid_of_subsets_is_about_that_of_whole_sets() -> None:
    samples, reference = gaussian_images(200, 16, seed=0), gaussian_images(300, 16, seed=1, mean=0.5)
    x, y = ((images.reshape(len(images), 16) - 128.0) / SCALE for images in (samples, reference))
    kernel = [polynomial_kernel(a, b, degree=3, gamma=1 / 16, coef0=1) for a, b in ((x, x), (y, y), (x, y))]
    within = [(matrix.sum() - np.trace(matrix)) / (len(matrix) * (len(matrix) - 1)) for matrix in kernel[:2]]
    found = measure(KidSpec(subset_size=100, subsets=100), context_of(samples, reference))["kid"]
    assert abs(found.value - (sum(within) - 2 * kernel[2].mean())) < 3 * found.std / 10  # a mean of 100 subsets


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


# -- CMMD's distance -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [10.0, 0.5])
def test_cmmds_distance_is_that_of_scikit_learns_kernels(sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimflow.metrics.kernels.BLOCK", 32)
    samples, reference = gaussian_images(70, 16, seed=0), gaussian_images(50, 16, seed=1, mean=0.5)
    x, y = (normalize((images.reshape(-1, 16) - 128.0) / SCALE) for images in (samples, reference))
    xx, yy, xy = (rbf_kernel(a, b, gamma=1 / (2 * sigma**2)).mean() for a, b in ((x, x), (y, y), (x, y)))
    found = value(CmmdSpec(sigma=sigma), context_of(samples, reference))
    assert found == pytest.approx(1000 * (xx + yy - 2 * xy), rel=1e-6)


def test_cmmds_distance_of_a_set_with_itself_is_nothing() -> None:
    images = gaussian_images(80, 16, seed=0)
    assert value(CmmdSpec(), context_of(images, images)) == pytest.approx(0, abs=1e-9)


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
    other = replace(pixel_extractor(), classifies=False)
    found = measure(ClassAccuracySpec(), context_of(samples, samples, extractor=other))
    assert found["class_accuracy"].reason == "the extractor does not know the data's classes"
