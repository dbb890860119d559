"""Features that frozen networks make of images, stored with a batch or computed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mimflow.features.networks import FrozenNetwork, build_network
from mimflow.features.spec import NetworkSpec
from mimflow.objectives.base import Batch


class Targets:
    """Features of images in frozen networks. A network is built when it is first needed: stored features need none.

    Not a module: what is frozen takes no part in an objective's state, mode or parameters.
    """

    def __init__(self) -> None:
        self._networks: dict[str, FrozenNetwork] = {}

    def network(self, spec: NetworkSpec, device: torch.device) -> FrozenNetwork:
        """The network of a spec, on a device."""
        if spec.name not in self._networks:
            self._networks[spec.name] = build_network(spec).to(device)
        return self._networks[spec.name]

    @torch.no_grad()
    def of_batch(self, spec: NetworkSpec, batch: Batch) -> Tensor:
        """(B, side², channels) of a batch's own images: as stored with it, or computed and kept with it."""
        if spec.name not in batch.features:
            batch.features[spec.name] = self.of_images(spec, batch.images)
        return batch.features[spec.name]

    @torch.no_grad()
    def means(self, specs: Iterable[NetworkSpec], batches: Iterable[Batch]) -> dict[str, Tensor]:
        """The mean (side², channels) over the images of these batches, by the network's name."""
        networks = {spec.name: spec for spec in specs}
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in batches:
            for name, spec in networks.items():
                features = self.of_batch(spec, batch).double().sum(0)
                sums[name] = sums[name] + features if name in sums else features
            count += len(batch.labels)
        return {name: total / count for name, total in sums.items()}

    def of_images(self, spec: NetworkSpec, images: Tensor) -> Tensor:
        """(B, side², channels) of any images, differentiable."""
        return self.network(spec, images.device).features(images)
