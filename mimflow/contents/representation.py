"""A representation: features of the images of both splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.representation import REPRESENTATION
from mimflow.contents.base import Content
from mimflow.metrics.reference.spec import ReferenceSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.spec import OutputSpec


class Representation(Content):
    """Features of both splits: nothing to compare with, and nothing to look at."""

    name = "representation"
    file = REPRESENTATION
    pictured = None
    extracts = False
    opener = "mimflow.contents.features:open_features"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """What it is: no prior takes part."""
        return "Representation"

    def drawing(self, draws: Draws) -> Drawing:
        """All but the number and classes of samples, which are the data's."""
        return draws.drawing

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> None:
        """None: the features are measured by themselves."""

    def count(self, draws: Draws) -> None:
        """Only the data knows."""

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """Of which images, and what each split is for."""
        yield "Representation", self.line(draws, reference)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same."""
        return "of every image of both splits: probes are trained on train and measured on val"

    def measured(self, facts: EvaluateFacts) -> str:
        """`trained on 1,500 images, measured on 297`."""
        return f"trained on {facts.train_count:,} images, measured on {facts.count:,}"
