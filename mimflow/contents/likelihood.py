"""Likelihoods: log-densities of a split's images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.likelihood import LIKELIHOOD
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.contents.base import Content
from mimflow.metrics.reference.spec import ReferenceSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.likelihood.spec import AtLevels, LikelihoodSpec
from mimflow.outputs.spec import OutputSpec


class Likelihood(Content):
    """How probable images of a split are: nothing to compare with, and nothing to look at."""

    name = "likelihood"
    file = LIKELIHOOD
    pictured = None
    extracts = False
    opener = "mimflow.contents.densities:open_densities"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """`Likelihood`; `Likelihood (noise level 0.3)` where all rows are of one level."""
        levels = {
            tuple(spec.noise.t) if isinstance(spec, LikelihoodSpec) and isinstance(spec.noise, AtLevels) else ()
            for spec in outputs
        }
        if len(levels) == 1 and len(found := levels.pop()) == 1:
            return f"Likelihood (noise level {found[0]:g})"
        return "Likelihood"

    def drawing(self, draws: Draws) -> Drawing:
        """All but the number and classes of samples, which are the data's."""
        return draws.drawing

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> None:
        """None: images are judged by themselves."""

    def count(self, draws: Draws) -> None:
        """Only the data knows."""

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """Of which images, of which density."""
        yield "Likelihood", self.line(draws, reference)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same."""
        return (
            "of every image of the output's split, one draw of the training's noise each; of the density that was "
            "trained, neither guided nor denoised; constants included, in fp32"
        )

    def measured(self, facts: EvaluateFacts) -> str:
        """`likelihoods of 297 images`."""
        return f"likelihoods of {facts.count:,} images"
