"""The spec of a protocol: everything that turns samples into a number, apart from the system."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from mimflow.features.registry import EXTRACTORS
from mimflow.features.spec import LAYERS, ExtractorSpec
from mimflow.metrics.number import Number
from mimflow.metrics.reference.registry import REFERENCES
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.metrics.registry import METRICS
from mimflow.metrics.spec import MetricSpec
from mimflow.outputs.drawing import Samples
from mimflow.spec.base import OUTSIDE_KEY, Name, Problem, Spec

NEEDED = {"features": "features of each reference image", "images": "the images of a split"}
"""What metrics compare with, as messages name it, of that which not every reference gives."""


class ProtocolSpec(Spec):
    """A number without its protocol is not a number."""

    label: Annotated[str, OUTSIDE_KEY] = ""
    by_default: Annotated[bool, OUTSIDE_KEY] = False
    """Whether the pages of its data set's runs are measured under it; where it is the only one they are anyway."""
    dataset: Name
    """The data set whose images it is about; a run on another can't be measured with this protocol."""
    samples: Samples
    reference: Annotated[ReferenceSpec, REFERENCES] = SplitReferenceSpec()
    """What samples are compared with by every metric that names no reference of its own."""
    extractor: Annotated[ExtractorSpec, EXTRACTORS]
    metrics: list[Annotated[MetricSpec, METRICS]] = Field(min_length=1)

    @property
    def numbers(self) -> dict[str, Number]:
        """Every number that its metrics report, by name."""
        return {number.name: number for metric in self.metrics for number in metric.numbers}

    def problems(self) -> Iterator[Problem]:
        kinds = [metric.kind for metric in self.metrics]
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                yield Problem(("metrics", index, "kind"), f"metric '{kind}' twice", "each once")
        for index, metric in enumerate(self.metrics):
            compared = metric.reference or self.reference
            if metric.compares in ("features", "images") and metric.compares not in compared.gives:
                own = ("reference", "kind") if metric.reference is not None else ("kind",)
                yield Problem(
                    ("metrics", index, *own),
                    f"'{metric.kind}' needs {NEEDED[metric.compares]}, which a reference of kind {compared.kind} lacks",
                    "give it a reference of its own: {split: train, count: 10000}, or {kind: images, archive: …}",
                )
            if metric.layer is not None and metric.layer not in self.extractor.layers:
                giving = [kind for kind in EXTRACTORS if metric.layer in EXTRACTORS.spec(kind).layers]  # type: ignore[attr-defined]
                yield Problem(
                    ("metrics", index, "kind"),
                    f"metric '{metric.kind}' looks at {LAYERS[metric.layer]}, which extractor "
                    f"'{self.extractor.kind}' lacks",
                    f"leave it out, or an extractor that gives them: {', '.join(giving)}",
                )
