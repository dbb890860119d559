"""Samples: images that were drawn from a prior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimflow.artifacts.metrics import EvaluateFacts
from mimflow.artifacts.samples import SAMPLES
from mimflow.contents.base import QUANTISATION, Content
from mimflow.metrics.reference.spec import ReferenceSpec, SplitReferenceSpec
from mimflow.outputs.drawing import Drawing
from mimflow.outputs.drawing import Samples as Draws
from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import Spec
from mimflow.spec.words import settings

WITHOUT_GUIDANCE = "Without guidance"
WITH_GUIDANCE = "With guidance"
_LABELS = {"balanced": "the same number of each class", "uniform": "classes drawn independently"}


class Samples(Content):
    """Images of a prior, compared with the protocol's reference."""

    name = "samples"
    file = SAMPLES
    pictured = SAMPLES
    extracts = True
    opener = "mimflow.contents.images:open_images"

    def heading(self, name: str, outputs: Iterable[OutputSpec]) -> str:
        """`Without guidance`, `With guidance (linear, weight 3)`; the output's name if some rows are and some not.

        Rows that are guided differently leave the settings to the lines under the table.
        """
        specs = list(outputs)
        if len(titles := {spec.title for spec in specs}) == 1 and (title := titles.pop()):
            return title
        found = [guidance(spec) for spec in specs]
        if all(spec is None for spec in found):
            return WITHOUT_GUIDANCE
        texts = {settings(spec) for spec in found if spec is not None}
        if any(spec is None for spec in found):
            return name
        return f"{WITH_GUIDANCE} ({texts.pop()})" if len(texts) == 1 else WITH_GUIDANCE

    def drawing(self, draws: Draws) -> Drawing:
        """All of it."""
        return draws

    def reference(self, output: OutputSpec, asked: ReferenceSpec) -> ReferenceSpec:
        """The protocol's."""
        return asked

    def count(self, draws: Draws) -> int:
        """The protocol's."""
        return draws.count

    def lines(
        self, draws: Draws, reference: ReferenceSpec, dataset: str, facts: EvaluateFacts | None
    ) -> Iterator[tuple[str, str]]:
        """How many samples of which classes to which bits, and how many images they are compared with."""
        yield "Samples", _drawn(draws)
        yield "Reference", compared_with(reference, dataset, None if facts is None else facts.reference_count)

    def line(self, draws: Draws, reference: ReferenceSpec) -> str:
        """The same, without the reference's number."""
        return f"{_drawn(draws)}; {reference.words}"

    def measured(self, facts: EvaluateFacts) -> str:
        """`2,000 samples against 4,000 images`."""
        count = facts.reference_count
        return f"{facts.count:,} samples against {f'{count:,} images' if count is not None else 'the reference'}"


def compared_with(reference: ReferenceSpec, dataset: str, known: int | None) -> str:
    """`4,000 images of the train split of MNIST-5k 32×32`, as far as the number is known."""
    if isinstance(reference, SplitReferenceSpec):
        count = reference.count if known is None else known
        images = f"{count:,} images" if count is not None else "all images"
        return f"{images} of the {reference.words.replace(' split', f' split of {dataset}', 1)}"
    return reference.words if known is None else f"the {known:,} {reference.words}"


def guidance(output: OutputSpec) -> Spec | None:
    """The guidance of an output; None where there is none, or none in effect."""
    found: Spec | None = getattr(output, "guidance", None)
    return None if found is None or getattr(found, "weight", None) == 0 else found


def _drawn(draws: Draws) -> str:
    return f"{draws.count:,} of each seed, {_LABELS[draws.labels]}, {QUANTISATION[draws.quantisation]}"
