"""Nearest neighbours in features, block by block: what precision, recall, density and coverage are made of.

Squared distances are computed in float64 on the device, `BLOCK` × `BLOCK` at a time, so that memory does not grow with
the square of the number of images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2048
"""Images on either side of a block of distances: 32 MiB."""
EQUAL = 1e-12
"""Squared distances below so much of both squared lengths are 0: two copies of an image, but for rounding."""
TIE = 1e-9
"""Squared distances that differ by less, relatively, are equal: rounding does not decide what a ball's border holds."""


def squared_radii(features: Tensor, neighbourhood: int, device: torch.device) -> Tensor:
    """The squared distance (N,) of each row of features (N, F) to its `neighbourhood`-th nearest other row."""
    nearest = torch.full((len(features), neighbourhood + 1), torch.inf, dtype=torch.float64, device=device)
    for rows, columns, distances in _blocks(features, features, device, half=True):
        turned_over = [] if rows == columns else [(columns, distances.T)]
        for own, others in [(rows, distances), *turned_over]:
            both = torch.cat([nearest[own], others], dim=1)
            nearest[own] = both.topk(neighbourhood + 1, dim=1, largest=False).values
    return nearest.amax(1)  # the nearest of all is the row itself, or a copy of it


def within_balls(samples: Tensor, reference: Tensor, neighbourhood: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which samples (N,) lie in a ball of the reference (M, F), which of the reference (M,) in one of the samples.

    A ball reaches to the `neighbourhood`-th nearest neighbour among its own kind, and holds its border.
    """
    sample_radii, reference_radii = (
        squared_radii(features, neighbourhood, device) * (1 + TIE) for features in (samples, reference)
    )
    sample_within = torch.zeros(len(samples), dtype=torch.bool, device=device)
    reference_within = torch.zeros(len(reference), dtype=torch.bool, device=device)
    for rows, columns, distances in _blocks(samples, reference, device):
        sample_within[rows] |= (distances <= reference_radii[columns]).any(1)
        reference_within[columns] |= (distances <= sample_radii[rows, None]).any(0)
    return sample_within, reference_within


def balls_held(samples: Tensor, reference: Tensor, neighbourhood: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """In how many balls of the reference each sample (N,) lies, and which of these balls (M,) hold a sample.

    A ball reaches to the `neighbourhood`-th nearest neighbour, and does not hold its border.
    """
    radii = squared_radii(reference, neighbourhood, device) * (1 - TIE)
    counts = torch.zeros(len(samples), dtype=torch.int64, device=device)
    holding = torch.zeros(len(reference), dtype=torch.bool, device=device)
    for rows, columns, distances in _blocks(samples, reference, device):
        held = distances < radii[columns]
        counts[rows] += held.sum(1)
        holding[columns] |= held.any(0)
    return counts, holding


def _blocks(
    first: Tensor, second: Tensor, device: torch.device, *, half: bool = False
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Squared distances between rows of (N, F) and of (M, F), block by block, with the rows and columns they are of.

    `half`, where both are the same: blocks below the diagonal, which are those above it turned over, are left out.
    """
    for top in range(0, len(first), BLOCK):
        left = first[top : top + BLOCK].to(device, torch.float64)
        left_squared = left.square().sum(1)[:, None]
        for start in range(top if half else 0, len(second), BLOCK):
            right = second[start : start + BLOCK].to(device, torch.float64)
            lengths = left_squared + right.square().sum(1)
            distances = torch.addmm(lengths, left, right.T, alpha=-2)
            distances[distances < EQUAL * lengths] = 0
            yield slice(top, top + len(left)), slice(start, start + len(right)), distances
