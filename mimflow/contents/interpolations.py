"""Interpolations: images between pairs of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import SAMPLES, STRIP
from mimflow.contents.base import QUANTISATION, Content
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.interpolation.spec import InterpolationSpec
from mimflow.outputs.spec import OutputSpec


class Interpolations(Content):
    """What is decoded between two images' latents, compared with images of their split."""

    name = "interpolations"
    file = SAMPLES
    pictured = STRIP
    pictured_as = "from one image to another"
    extracts = True
    opener = "mimflow.contents.images:open_images"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """What they are, and how they are made where that is not the default and the same in all rows."""
        how = {(spec.method, spec.space) for spec in outputs if isinstance(spec, InterpolationSpec)}
        method, space = how.pop() if len(how) == 1 else ("linear", "latents")
        return "Interpolation" + ", spherical" * (method == "spherical") + ", of noise" * (space == "noise")

    def drawing(self, draws: Draws) -> Drawing:
        """All but the number and classes of samples: the output says how many pairs there are."""
        return draws.drawing

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> ReferenceSpec:
        """Every image of the split that the pairs are of."""
        assert isinstance(output, InterpolationSpec)
        return SplitReferenceSpec(split=output.split)

    def count(self, draws: Draws) -> None:
        """Only the output knows."""

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """Between which images, to which bits, against what."""
        yield "Interpolations", self.line(draws, reference)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same."""
        bits = QUANTISATION[draws.quantisation]
        return f"between pairs of images of the output's split, {bits}, against every image of this split"

    def measured(self, facts: EvaluateFacts) -> str:
        """`90 images between pairs against 297 images`."""
        return f"{facts.count:,} images between pairs against {facts.reference_count:,} images"
