"""Each metric moves as it says when real images are spoilt: crops of photographs, in EfficientNet-Lite0's features."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from measuring import context_of, measure
from skimage.filters import gaussian

from mimflow.features.extractors import Extractor
from mimflow.features.registry import EXTRACTORS
from mimflow.features.spec import EfficientnetLite0ExtractorSpec
from mimflow.metrics.perceptual_spec import PerceptualSpec
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import (
    CmmdSpec,
    DensityCoverageSpec,
    FidSpec,
    IsSpec,
    KidSpec,
    MetricSpec,
    PrecisionRecallSpec,
    PsnrSpec,
    SfidSpec,
    SsimSpec,
)
from mimflow.system.spec import Shapes

pytestmark = pytest.mark.slow

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "immunohistochemistry")
SIDE = 32
EACH = 40
"""Crops of a photograph."""
OF_SAMPLES: list[MetricSpec] = [
    FidSpec(),
    SfidSpec(),
    IsSpec(splits=1),
    KidSpec(subset_size=80, subsets=20),
    CmmdSpec(),
    PrecisionRecallSpec(),
    DensityCoverageSpec(),
]
OF_PAIRS: list[MetricSpec] = [PsnrSpec(), SsimSpec(), PerceptualSpec()]
DIRECTIONS = {number.name: number.direction for kind in METRICS for number in METRICS.spec(kind).numbers}


def crops(seed: int, each: int = EACH, names: tuple[str, ...] = PHOTOGRAPHS) -> np.ndarray:
    """Random crops (N, 32, 32, 3) uint8, the photographs one after the other."""
    random = np.random.default_rng(seed)
    found = []
    for name in names:
        image = getattr(skimage.data, name)()
        for _ in range(each):
            top, left = (int(random.integers(side - SIDE)) for side in image.shape[:2])
            found.append(image[top : top + SIDE, left : left + SIDE])
    return np.stack(found)


def blurred(images: np.ndarray) -> np.ndarray:
    return np.rint(gaussian(images, (0, 2, 2, 0), preserve_range=True)).astype(np.uint8)


def noisy(images: np.ndarray) -> np.ndarray:
    noise = 40 * np.random.default_rng(9).standard_normal(images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    shapes = Shapes(channels=3, size=SIDE, num_classes=len(PHOTOGRAPHS))
    found: Extractor = EXTRACTORS.build(EfficientnetLite0ExtractorSpec(input_size=64), shapes, None, None)
    return found


def numbers(samples: np.ndarray, reference: np.ndarray, extractor: Extractor) -> dict[str, float]:
    """Every number of samples, by name."""
    context = context_of(samples, reference, extractor=extractor)
    found = {name: number for spec in OF_SAMPLES for name, number in measure(spec, context).items()}
    assert not any(number.reason for number in found.values()), found
    return {name: number.value for name, number in found.items()}


@pytest.fixture(scope="module")
def clean(extractor: Extractor) -> dict[str, float]:
    """The numbers of crops of the same photographs."""
    return numbers(crops(1), crops(0), extractor)


def worse(found: dict[str, float], than: dict[str, float]) -> set[str]:
    """The names of numbers that moved away from their better end."""
    sign = {"lower": 1, "higher": -1}
    return {name for name, value in found.items() if sign[DIRECTIONS[name]] * (value - than[name]) > 0}


def test_identical_images_are_as_good_as_can_be(extractor: Extractor) -> None:
    images = crops(0)
    found = numbers(images, images, extractor)
    assert found["fid"] == pytest.approx(0, abs=1e-3)
    assert found["sfid"] == pytest.approx(0, abs=1e-3)
    assert found["cmmd"] == pytest.approx(0, abs=1e-6)
    assert found["kid"] < 1e-3
    assert [found[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert found["density"] == pytest.approx(1, abs=1e-6)


def test_noise_makes_every_number_worse(clean: dict[str, float], extractor: Extractor) -> None:
    found = numbers(noisy(crops(1)), crops(0), extractor)
    assert worse(found, clean) == set(clean)
    assert found["fid"] > 1.5 * clean["fid"]


def test_blur_makes_every_number_worse_but_those_that_reward_what_is_common(
    clean: dict[str, float], extractor: Extractor
) -> None:
    found = numbers(blurred(crops(1)), crops(0), extractor)
    assert worse(found, clean) >= set(clean) - {"precision", "density"}
    assert found["fid"] > 1.5 * clean["fid"]


def test_a_wrong_mix_of_classes_moves_distances_and_not_precision(
    clean: dict[str, float], extractor: Extractor
) -> None:
    """Nine crops of ten are of two of the four photographs: each of them is real."""
    skewed = np.concatenate([crops(1, 72, PHOTOGRAPHS[:2]), crops(1, 8, PHOTOGRAPHS[2:])])
    found = numbers(skewed, crops(0), extractor)
    assert {"fid", "sfid", "kid", "cmmd", "recall", "coverage"} <= worse(found, clean)
    assert found["precision"] > clean["precision"] - 0.15


def test_dropped_modes_lower_recall_and_coverage_and_not_precision(
    clean: dict[str, float], extractor: Extractor
) -> None:
    found = numbers(crops(1, 160, PHOTOGRAPHS[1:2]), crops(0), extractor)
    assert {"fid", "sfid", "kid", "cmmd", "is", "recall", "coverage"} <= worse(found, clean)
    assert found["recall"] < 0.6 * clean["recall"]
    assert found["precision"] > clean["precision"] - 0.15


def test_no_number_depends_on_the_order_of_images_or_the_size_of_batches(
    clean: dict[str, float], extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimflow.metrics.context.BATCH_SIZE", 7)
    monkeypatch.setattr("mimflow.metrics.context.MOMENTS_ROWS", 11)
    monkeypatch.setattr("mimflow.metrics.neighbours.BLOCK", 13)
    order = np.random.default_rng(3).permutation(len(PHOTOGRAPHS) * EACH)
    found = numbers(crops(1)[order], crops(0)[order[::-1]], extractor)
    assert found == pytest.approx(clean, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("spoil", [blurred, noisy])
def test_distances_of_pairs_grow_with_what_is_done_to_them(spoil: object, extractor: Extractor) -> None:
    originals = crops(0, 8, ("coffee", "immunohistochemistry"))
    spoilt = spoil(originals)  # type: ignore[operator]
    little = np.rint(0.5 * originals + 0.5 * spoilt).astype(np.uint8)
    near, far = (context_of(images, originals, extractor=extractor) for images in (little, spoilt))
    found, least = ({n: v.value for s in OF_PAIRS for n, v in measure(s, c).items()} for c in (far, near))
    assert worse(found, least) == {"psnr", "psnr_pooled", "ssim", "perceptual"}
