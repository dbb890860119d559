"""The spec of interpolations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.outputs.spec import OutputSpec
from mimflow.spec.base import Count, Problem

if TYPE_CHECKING:
    from mimflow.system.spec import System


class InterpolationSpec(OutputSpec):
    """Pairs of images of a split, their latents mixed at evenly spaced shares from the one to the other, and decoded.

    The first and the last of each pair's images are the reconstructions of its two (SimFlow, arXiv 2512.04084, Fig. 3).
    """

    content: ClassVar[str] = "interpolations"
    reads_data: ClassVar[bool] = True

    kind: Literal["interpolation"] = "interpolation"
    split: Literal["train", "val"] = "val"
    """The split whose images are mixed."""
    pairs: Count = 10
    """How many pairs are drawn, without an image twice where there are enough."""
    steps: Annotated[int, Field(ge=3, le=1000)] = 9
    """Images of a pair, both ends included: 9 are the shares 0, 1/8, …, 1."""
    method: Literal["linear", "spherical"] = "linear"
    """(1 − a) x + a y; or along the great circle, sin((1 − a) φ) / sin φ x + sin(a φ) / sin φ y with the angle φ of the
    two, all dimensions together, which keeps the length of equally long ones."""
    space: Literal["latents", "noise"] = "latents"
    """What is mixed: the latents, or what the flow makes of them, which is run backwards afterwards."""
    classes: Literal["any", "same", "different"] = "any"
    """Whether the two images of a pair are of one class."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.tokenizer is None:
            yield Problem(("kind",), "a system without a tokenizer has no latents", "add a tokenizer, or remove it")
        if self.space == "latents":
            return
        if system.prior is None or not system.prior.flow or system.prior.noise_levels:
            yield Problem(("space",), "the noise of a flow without noise levels is mixed, and there is none", "latents")
        elif system.prior.takes_classes and self.classes != "same":
            yield Problem(("classes",), "a flow that takes classes is run backwards with one", "same")
