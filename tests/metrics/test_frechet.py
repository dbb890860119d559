"""The Fréchet distance, against scipy's square root of a matrix and torch-fidelity's other way of computing it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

from mimflow.metrics.frechet import frechet_distance

Statistics = dict[str, np.ndarray]


def statistics(images: int, features: int, seed: int, fall: float = 1.0) -> Statistics:
    """Of random features; the larger `fall`, the steeper their spectrum."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((features, features)) / np.arange(1, features + 1) ** fall
    rows = random.standard_normal((images, features)) @ mixing + random.standard_normal(features)
    return {"mu": rows.mean(0), "sigma": np.cov(rows, rowvar=False)}


def ours(first: Statistics, second: Statistics) -> float:
    return frechet_distance(first["mu"], first["sigma"], second["mu"], second["sigma"])


@pytest.mark.parametrize("images", [(400, 300), (20, 300), (300, 20), (20, 30)], ids=str)
@pytest.mark.parametrize("fall", [0.0, 1.0])
def test_it_is_torch_fidelitys_to_one_in_a_million(images: tuple[int, int], fall: float) -> None:
    """Their way is an eigenvalue decomposition of the product itself; covariances of few images are singular."""
    first, second = (statistics(count, 64, seed, fall) for seed, count in enumerate(images))
    wanted = fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]
    assert ours(first, second) == pytest.approx(wanted, rel=1e-6)
    assert ours(second, first) == pytest.approx(wanted, rel=1e-6)


def test_it_is_that_of_scipys_matrix_square_root() -> None:
    first, second = statistics(400, 32, 0), statistics(300, 32, 1)
    root = sqrtm(first["sigma"] @ second["sigma"]).real
    wanted = np.square(first["mu"] - second["mu"]).sum()
    wanted += np.trace(first["sigma"] + second["sigma"] - 2 * root)
    assert ours(first, second) == pytest.approx(wanted, rel=1e-9)


def test_of_diagonal_covariances_it_is_the_distance_of_means_and_of_deviations() -> None:
    """|μ₁ − μ₂|² + |σ₁ − σ₂|² = (9 + 16) + (1 + 4), by hand."""
    zeros, means = np.zeros(2), np.array([3.0, 4.0])
    assert frechet_distance(means, np.diag([4.0, 9.0]), zeros, np.diag([1.0, 1.0])) == pytest.approx(25 + 1 + 4)


@pytest.mark.parametrize("images", [400, 20])
def test_of_the_same_statistics_it_is_nothing(images: int) -> None:
    first = statistics(images, 64, 0)
    assert 0 <= ours(first, first) < 1e-6 * np.trace(first["sigma"])


def test_of_images_that_are_all_the_same_it_is_the_distance_of_means() -> None:
    zeros = np.zeros((3, 3))
    assert frechet_distance(np.ones(3), zeros, np.zeros(3), zeros) == 3
