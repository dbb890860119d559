"""How many images are made, of which classes, to which bits."""

from __future__ import annotations

from typing import Literal

from mimflow.spec.base import Count, Spec


class Drawing(Spec):
    """How an output makes images: to which bits, how many at once, from which seed."""

    quantisation: Literal["round", "truncate"] = "round"
    """How pixels in [−1, 1] become 8 bits."""
    batch_size: Count = 250
    """Images that are made at once."""
    seed: int = 0


class Samples(Drawing):
    """How many samples of a prior, of which classes, to which bits."""

    count: Count
    """How many samples are drawn."""
    labels: Literal["balanced", "uniform"] = "balanced"
    """Whether each class gets the same number of samples, or classes are drawn independently."""

    @property
    def drawing(self) -> Drawing:
        """The part that holds for outputs of a data set's images, whose number and classes are the data's."""
        return Drawing(quantisation=self.quantisation, batch_size=self.batch_size, seed=self.seed)
