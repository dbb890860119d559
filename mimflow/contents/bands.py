"""Bands: reconstructions of filtered images, compared with these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import PAIRS, SAMPLES
from mimflow.contents.base import QUANTISATION, Content
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.outputs.band.spec import BandSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.spec import OutputSpec


class Bands(Content):
    """One band of a split's images made again, each compared with the band of its original."""

    name = "bands"
    file = SAMPLES
    pictured = PAIRS
    pictured_as = "a band of originals, then its reconstruction"
    extracts = True
    opener = "mimflow.contents.band_images:open_bands"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """Which band, if it is the same in all rows."""
        bands = {spec.band for spec in outputs if isinstance(spec, BandSpec)}
        return f"Reconstruction, {bands.pop()} frequencies" if len(bands) == 1 else "Reconstruction of a band"

    def drawing(self, draws: Draws) -> Drawing:
        """All but their number and classes, which are the data's."""
        return draws.drawing

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> ReferenceSpec:
        """The images whose bands they are of: every one of the output's split."""
        assert isinstance(output, BandSpec)
        return SplitReferenceSpec(split=output.split)

    def count(self, draws: Draws) -> None:
        """Only the data knows."""

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """Of which images, to which bits, against what."""
        yield "Bands", self.line(draws, reference)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same."""
        bits = QUANTISATION[draws.quantisation]
        return f"of a band of every image of the output's split, {bits}, against the same band"

    def measured(self, facts: EvaluateFacts) -> str:
        """`297 reconstructions against 297 filtered images`."""
        return f"{facts.count:,} reconstructions against {facts.reference_count:,} filtered images"
