"""Reconstructions: images of a split, encoded and decoded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import PAIRS, SAMPLES
from mimflow.contents.base import QUANTISATION, Content
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.reconstruction.spec import ReconstructionSpec
from mimflow.outputs.spec import OutputSpec


class Reconstructions(Content):
    """Images of a split made again, each compared with its original."""

    name = "reconstructions"
    file = SAMPLES
    pictured = PAIRS
    pictured_as = "originals, then reconstructions"
    extracts = True
    opener = "mimflow.contents.images:open_images"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """What they are: no prior takes part."""
        return "Reconstruction"

    def drawing(self, draws: Draws) -> Drawing:
        """All but their number and classes, which are the data's."""
        return draws.drawing

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> ReferenceSpec:
        """Their originals: every image of the output's split."""
        assert isinstance(output, ReconstructionSpec)
        return SplitReferenceSpec(split=output.split)

    def count(self, draws: Draws) -> None:
        """Only the data knows."""

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """Of which images, to which bits, against what."""
        yield "Reconstructions", self.line(draws, reference)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same."""
        bits = QUANTISATION[draws.quantisation]
        return f"of every image of the output's split, {bits}, against these same images"

    def measured(self, facts: EvaluateFacts) -> str:
        """`297 reconstructions against 297 images`."""
        return f"{facts.count:,} reconstructions against {facts.reference_count:,} images"
