"""The Fréchet distance from statistics, ours against torch-fidelity's: `python benchmarks/fid.py --runs 3`.

Theirs is an eigenvalue decomposition of the product of both covariances, which is not symmetric.
"""

from __future__ import annotations

import argparse

import numpy as np
from interleave import interleave
from threadpoolctl import threadpool_limits
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

from mimflow.metrics.frechet import frechet_distance

Statistics = dict[str, np.ndarray]


def statistics(features: int, images: int, seed: int) -> Statistics:
    """Mean and covariance of random features whose spectrum falls like that of a network's."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((images, features)) @ (
        random.standard_normal((features, features)) / np.arange(1, features + 1)
    )
    return {"mu": rows.mean(0), "sigma": np.cov(rows, rowvar=False)}


def ours(first: Statistics, second: Statistics) -> float:
    """Our distance."""
    return frechet_distance(first["mu"], first["sigma"], second["mu"], second["sigma"])


def theirs(first: Statistics, second: Statistics) -> float:
    """torch-fidelity's."""
    distance: float = fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]
    return distance


def measure(features: int, images: int, runs: int) -> str:
    """One line: how many times as fast, and by how much the two results differ."""
    first, second = (statistics(features, images, seed) for seed in (0, 1))
    difference = abs(ours(first, second) / theirs(first, second) - 1)
    ratios = interleave(lambda: theirs(first, second), lambda: ours(first, second), runs)
    return (
        f"{features:>4} features of {images:>5} images  "
        f"{ratios.minimum:.1f}× by minimum  {ratios.median:.1f}× by median  "
        f"{ratios.slow:.2f} s against {ratios.fast:.2f} s  relative difference {difference:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, help="Of the linear algebra; not given: as many as it takes.")
    parser.add_argument("--features", type=int, nargs="+", default=[512], help="2048 takes a minute or two a run.")
    parser.add_argument("--images", type=int, default=10000, help="Fewer than features: covariances are of lower rank.")
    options = parser.parse_args()
    with threadpool_limits(options.threads):
        for features in options.features:
            print(measure(features, options.images, options.runs), flush=True)


if __name__ == "__main__":
    main()
