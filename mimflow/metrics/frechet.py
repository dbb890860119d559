"""The Fréchet distance between Gaussians, by the eigenvalues of a symmetric matrix."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.lapack import dpstrf


def frechet_distance(mu: np.ndarray, sigma: np.ndarray, other_mu: np.ndarray, other_sigma: np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of means (F,) and covariances (F, F) (Heusel et al. 2017, Eq. 6).

    Computed in float64; rounding alone does not make it negative. Raises LinAlgError where eigenvalues can't be had.
    """
    difference = np.subtract(mu, other_mu, dtype=np.float64)
    first, second = sigma.astype(np.float64), other_sigma.astype(np.float64)
    root = np.sqrt(_product_eigenvalues(first, second).clip(min=0)).sum()
    return max(float(difference @ difference + np.trace(first) + np.trace(second) - 2 * root), 0.0)


def _product_eigenvalues(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The eigenvalues of the product of two covariances (F, F), as far as they are not zero.

    Where one of them is R Rᵀ they are those of Rᵀ Σ R, which is symmetric: faster, and none is complex.
    """
    try:
        eigenvalues: np.ndarray = eigh(first, second, type=2, driver="gv", eigvals_only=True)
    except np.linalg.LinAlgError:  # fewer images than features: Cholesky's factor needs pivots, and has fewer columns
        factor, pivots, rank, _ = dpstrf(second, lower=1)
        root = np.empty((len(second), rank))
        root[pivots - 1] = np.tril(factor)[:, :rank]
        eigenvalues = np.linalg.eigvalsh(root.T @ first @ root)
    return eigenvalues
