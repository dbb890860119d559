"""The spec of a protocol: everything that turns samples into a number, apart from the system."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.metrics.registry import EXTRACTORS, METRICS
from mimflow.metrics.spec import ExtractorSpec, MetricSpec
from mimflow.spec.base import OUTSIDE_KEY, Count, Name, Problem, Spec


class Drawing(Spec):
    """How a sampler makes images: to which bits, how many at once, from which seed."""

    quantisation: Literal["round", "truncate"] = "round"
    """From [−1, 1] to 8 bits."""
    batch_size: Count = 250
    seed: int = 0


class Samples(Drawing):
    """How many samples of a prior, of which classes, to which bits."""

    count: Count
    labels: Literal["balanced", "uniform"] = "balanced"
    """The same number of each class, or drawn independently."""

    @property
    def drawing(self) -> Drawing:
        """The part that holds for samplers of a data set's images, whose number and classes are the data's."""
        return Drawing(quantisation=self.quantisation, batch_size=self.batch_size, seed=self.seed)


class Reference(Spec):
    """The real images that samples are compared with."""

    split: Literal["train", "val"] = "train"
    count: Count | None = None
    """Only the first so many of a seeded permutation; not given: all."""


class ProtocolSpec(Spec):
    """A number without its protocol is not a number."""

    label: Annotated[str, OUTSIDE_KEY] = ""
    dataset: Name
    """The data set of the reference; a run on another can't be measured with this protocol."""
    samples: Samples
    reference: Reference = Reference()
    extractor: Annotated[ExtractorSpec, EXTRACTORS]
    metrics: list[Annotated[MetricSpec, METRICS]] = Field(min_length=1)

    def problems(self) -> Iterator[Problem]:
        kinds = [metric.kind for metric in self.metrics]
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                yield Problem(("metrics", index, "kind"), f"metric '{kind}' twice", "each once")
