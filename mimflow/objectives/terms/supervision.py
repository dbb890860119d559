"""What terms share that compare vectors with a frozen network's features: a centre, and what a constant would give."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimflow.objectives.terms.spec import Alignment, Auxiliary


class Distance(NamedTuple):
    """Means of −cos over what counts, in [−1, 1]."""

    own: Tensor
    """Of what the term makes of its tokens: what is minimised."""
    constant: Tensor
    """Of the best constant: what could be had without looking at the image."""


class BestConstant(nn.Module):
    """The vectors, one for each place, whose mean cosine with the targets seen so far is the largest.

    That is the direction of the mean of the targets at unit length, and the cosine's mean is this mean's length. Each
    vector stands for as many places in a row as there are more of them than vectors.
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, places: int, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(places, channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def distance(self, targets: Tensor) -> Tensor:
        """−cos with targets (B, N, channels), for each (B, N); 0 before any were seen."""
        constant = self.mean.repeat_interleave(targets.shape[1] // len(self.mean), 0)
        return -F.cosine_similarity(constant[None], targets, dim=-1)

    @torch.no_grad()
    def see(self, targets: Tensor) -> None:
        """Take targets (B, N, channels) into the mean."""
        units = F.normalize(targets, dim=-1).unflatten(1, (len(self.mean), -1)).mean((0, 2))
        self.seen += len(targets)
        self.mean += (units - self.mean) * (len(targets) / self.seen)


class Supervision(nn.Module):
    """Base of such terms. What it knows of the targets is in its state, and goes on with a training that goes on."""

    centre: Tensor | None

    def __init__(self, spec: Alignment | Auxiliary, places: int):
        super().__init__()
        network = spec.network
        self.register_buffer("centre", torch.zeros(network.side**2, network.channels) if spec.centred else None)
        self.constant = BestConstant(places, network.channels)

    def centre_on(self, mean: Tensor) -> None:
        """Take this mean (side², channels) off all features from now on. Only where the spec says `centred`."""
        assert self.centre is not None
        self.centre.copy_(mean)

    def targets(self, features: Tensor) -> Tensor:
        """A network's features (B, side², channels) in float32, without their mean where the spec says so."""
        return features.float() if self.centre is None else features.float() - self.centre

    def of_constant(self, targets: Tensor) -> Tensor:
        """The best constant's −cos with targets (B, N, channels), for each; in training it then learns from them.

        So it is judged by images that it has not seen.
        """
        distance = self.constant.distance(targets)
        if self.training:
            self.constant.see(targets)
        return distance
