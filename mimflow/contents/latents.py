"""Latents: what decoders are given, of the data or of a prior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.latents import LATENTS
from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.contents.base import Content
from mimflow.metrics.reference.spec import ReferenceSpec
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.latents.spec import LatentsSpec
from mimflow.outputs.spec import OutputSpec


class Latents(Content):
    """Latents of a split's images or drawn from a prior: nothing to compare with, and nothing to look at."""

    name = "latents"
    file = LATENTS
    pictured = None
    extracts = False
    opener = "mimflow.contents.latent_maps:open_latents"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """Whose they are."""
        whose = {spec.of.kind for spec in outputs if isinstance(spec, LatentsSpec)}
        return f"Latents of the {whose.pop()}" if len(whose) == 1 else "Latents"

    def drawing(self, draws: Draws) -> Draws:
        """All of it: a prior's are as many as its samples."""
        return draws

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> None:
        """None: latents are measured by themselves."""

    def count(self, draws: Draws) -> None:
        """Only the data knows of its own."""

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """Of which images, or how many drawn, and on which scale."""
        yield "Latents", self.line(draws, reference)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same."""
        return (
            f"of every image of the output's split, or {draws.count:,} drawn; "
            "each channel standardised by its own mean and standard deviation"
        )

    def measured(self, facts: EvaluateFacts) -> str:
        """`297 latents of 256 dimensions`."""
        return f"{facts.count:,} latents of {facts.features:,} dimensions"
