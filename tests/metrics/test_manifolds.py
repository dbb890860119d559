"""Precision, recall, density and coverage: by hand, and against scikit-learn's nearest neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from measuring import context_of, gaussian_images, measure
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from mimflow.artifacts.metrics import MetricValue
from mimflow.metrics.neighbours import balls_held, squared_radii, within_balls
from mimflow.metrics.spec import DensityCoverageSpec, MetricSpec, PrecisionRecallSpec

CPU = torch.device("cpu")


def numbers(spec: MetricSpec, samples: np.ndarray, reference: np.ndarray, cache: Path) -> tuple[float | None, ...]:
    return tuple(number.value for number in measure(spec, context_of(samples, reference, cache)).values())


def points(*coordinates: float) -> torch.Tensor:
    """Points on a line, (N, 1)."""
    return torch.tensor(coordinates)[:, None]


def test_balls_on_a_line_by_hand() -> None:
    """Of 0, 1, 3, 10 the nearest others are 1, 1, 2 and 7 away; of 0.5, 2, 20 they are 1.5, 1.5 and 18."""
    samples, reference = points(0.5, 2, 20), points(0, 1, 3, 10)
    assert squared_radii(reference, 1, CPU).tolist() == [1, 1, 4, 49]
    assert squared_radii(samples, 1, CPU).tolist() == [2.25, 2.25, 324]
    assert squared_radii(reference, 2, CPU).tolist() == [9, 4, 9, 81]
    in_reference, in_samples = within_balls(samples, reference, 1, CPU)
    assert in_reference.tolist() == [True, True, False]  # 20 is 10 away from 10, whose ball reaches 7
    assert in_samples.tolist() == [True, True, True, True]  # the ball of 20 reaches to 2, and holds 3 and 10
    counts, holding = balls_held(samples, reference, 1, CPU)
    assert counts.tolist() == [2, 1, 0]  # 2 lies on the border of the ball of 1, and inside that of 3
    assert holding.tolist() == [True, True, True, False]


@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize("neighbourhood", [1, 3, 5])
def test_partial_overlap_of_unequal_sets_is_scikit_learns(
    block: int, neighbourhood: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimflow.metrics.neighbours.BLOCK", block)
    random = np.random.default_rng(0)
    samples = (random.standard_normal((90, 6)) + 0.7).astype(np.float32)
    reference = random.standard_normal((140, 6)).astype(np.float32)
    radii = []
    for rows in (samples, reference):
        nearest = NearestNeighbors(n_neighbors=neighbourhood + 1, algorithm="brute").fit(rows.astype(np.float64))
        radii.append(nearest.kneighbors(rows.astype(np.float64))[0][:, -1])
    distances = pairwise_distances(samples.astype(np.float64), reference.astype(np.float64))
    given = torch.from_numpy(samples), torch.from_numpy(reference)
    in_reference, in_samples = within_balls(*given, neighbourhood, CPU)
    assert in_reference.tolist() == (distances <= radii[1]).any(1).tolist()
    assert in_samples.tolist() == (distances <= radii[0][:, None]).any(0).tolist()
    counts, holding = balls_held(*given, neighbourhood, CPU)
    assert counts.tolist() == (distances < radii[1]).sum(1).tolist()
    assert holding.tolist() == (distances < radii[1]).any(0).tolist()
    assert 0 < in_reference.double().mean() < 1 and 0 < in_samples.double().mean() < 1


def test_copies_lie_on_each_other_and_borders_do_not_depend_on_rounding() -> None:
    """Far from zero |x|² + |y|² − 2 xᵀy loses digits: copies still have no distance, and equal distances are equal."""
    random = np.random.default_rng(0)
    once = torch.from_numpy(1000 + random.standard_normal((40, 8)))
    twice = torch.cat([once, once])
    assert not squared_radii(twice, 1, CPU).any()
    assert all(found.all() for found in within_balls(twice, once, 1, CPU))
    counts, holding = balls_held(once, once, 5, CPU)
    assert counts.sum() == 40 * 5  # each ball holds its own centre and 4 others: the fifth is its border
    assert holding.all()


def test_equal_and_disjoint_sets(tmp_path: Path) -> None:
    images, far = gaussian_images(200, 16, seed=0, std=0.3), gaussian_images(200, 16, seed=1, mean=3, std=0.3)
    assert numbers(PrecisionRecallSpec(), images, images, tmp_path) == (1, 1)
    assert numbers(PrecisionRecallSpec(), images, far, tmp_path) == (0, 0)
    density, coverage = numbers(DensityCoverageSpec(), images, images, tmp_path)
    assert (density, coverage) == (pytest.approx(1, abs=0.02), 1)  # but for neighbours that are equally far, in pixels
    assert numbers(DensityCoverageSpec(), images, far, tmp_path) == (0, 0)


def test_samples_of_one_of_two_modes_are_precise_and_dense_without_recall_and_coverage(tmp_path: Path) -> None:
    near, far = gaussian_images(200, 16, seed=0, std=0.1), gaussian_images(200, 16, seed=1, mean=3, std=0.1)
    both = np.concatenate([near, far])
    assert numbers(PrecisionRecallSpec(), near, both, tmp_path) == (1, 0.5)
    assert numbers(PrecisionRecallSpec(), both, near, tmp_path) == (0.5, 1)
    assert numbers(DensityCoverageSpec(), near, both, tmp_path) == (pytest.approx(1, abs=0.02), 0.5)


def test_sets_of_one_distribution_have_a_density_of_one_and_an_expected_coverage(tmp_path: Path) -> None:
    """Naeem et al. 2020, section 3: density 1, coverage 1 − (N−1)…(N−k) / (M+N−1)…(M+N−k), about 1 − 2⁻⁵ here."""
    samples, reference = gaussian_images(1500, 4, seed=0), gaussian_images(1500, 4, seed=1)
    density, coverage = numbers(DensityCoverageSpec(neighbourhood=5), samples, reference, tmp_path)
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.015)


@pytest.mark.parametrize(
    ("spec", "samples", "reference", "reason"),
    [
        (PrecisionRecallSpec(), 3, 60, "3 samples, at least 4 needed"),
        (PrecisionRecallSpec(), 60, 3, "3 reference images, at least 4 needed"),
        (DensityCoverageSpec(), 60, 5, "5 reference images, at least 6 needed"),
    ],
)
def test_without_enough_images_there_is_a_reason(
    spec: MetricSpec, samples: int, reference: int, reason: str, tmp_path: Path
) -> None:
    context = context_of(gaussian_images(samples, 16, seed=0), gaussian_images(reference, 16, seed=1), tmp_path)
    assert set(measure(spec, context).values()) == {MetricValue(None, reason=reason)}
