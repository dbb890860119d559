"""Streamed moments: NumPy's own mean and covariance of all features at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimflow.metrics.moments import Moments


def moments_of(features: np.ndarray, size: int) -> Moments:
    moments = Moments(features.shape[1])
    for start in range(0, len(features), size):
        moments.add(features[start : start + size])
    return moments


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_of_any_size_and_order_give_the_mean_and_the_covariance(size: int) -> None:
    features = np.random.default_rng(0).normal(1e4, 1, (501, 5)).astype(np.float32)
    whole = features.astype(np.float64)
    for rows in (features, features[::-1]):
        moments = moments_of(rows, size)
        assert moments.count == 501
        np.testing.assert_allclose(moments.mu, whole.mean(0), rtol=1e-14)
        np.testing.assert_allclose(moments.sigma, np.cov(whole, rowvar=False), rtol=1e-11, atol=1e-11)


def test_two_halves_merge_into_the_whole() -> None:
    features = np.random.default_rng(1).normal(size=(40, 3))
    left, right, empty = moments_of(features[:13], 4), moments_of(features[13:], 5), Moments(3)
    left.merge(right)
    left.merge(empty)
    empty.merge(left)
    for moments in (left, empty):
        np.testing.assert_allclose(moments.sigma, np.cov(features, rowvar=False), rtol=1e-13)


def test_tensors_are_taken_and_one_image_has_no_covariance() -> None:
    moments = Moments(2)
    moments.add(torch.tensor([[1.0, 3.0]]))
    assert moments.mu.tolist() == [1, 3] and not np.isfinite(moments.sigma).any()
    moments.add(torch.tensor([[3.0, 3.0]]))
    assert moments.mu.tolist() == [2, 3] and moments.sigma.tolist() == [[2, 0], [0, 0]]


def test_what_is_not_finite_stays_so() -> None:
    moments = Moments(1)
    moments.add([[1.0], [np.nan]])
    assert not np.isfinite(moments.mu).any() and not np.isfinite(moments.sigma).any()
