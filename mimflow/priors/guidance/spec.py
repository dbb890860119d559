"""The specs of guidance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mimflow.spec.base import Count, Fraction, NonNegative, Positive, Problem, Spec

if TYPE_CHECKING:
    pass


class GuidanceInterval(Spec):
    """Leave guidance out of a part of the sampling.

    What MIMFlow's `interval_guidance` of 0.25 means is not public; 0 is no restriction.
    """

    fraction: Annotated[float, Field(gt=0, lt=1)]
    """The share of predictions or blocks that is not guided."""
    meaning: Literal["skip_first", "skip_last", "skip_first_blocks", "skip_last_blocks"] = "skip_first"
    """What the share is of: the first or the last predictions of a block, in its order, or the first or the last blocks
    in the order of sampling, of which the first are the deep ones, next to the noise. Positions are our choice for
    MIMFlow; a share of blocks is the other reading. An annealed weight rises as it does without an interval."""


def _names_or_counts(value: Any) -> str:
    return "count" if isinstance(value, int) and not isinstance(value, bool) else "name"


GuidedBlocks = Annotated[
    Annotated[Literal["all", "deep"], Tag("name")] | Annotated[Count, Tag("count")], Discriminator(_names_or_counts)
]


class GuidanceSpec(Spec):
    """What every rule of guidance can say."""

    kind: str
    weight: NonNegative
    """The guidance weight w; 0 is no guidance."""
    anneal: bool = True
    """Whether the weight rises over a block's predictions, g_i = w (i + 1) / N for i = 0 … N − 1: TARFlow predicts N =
    T − 1 of T tokens, a flow with a start token all T."""
    blocks: GuidedBlocks = "all"
    """Which blocks are guided: all, only the deep one, which is the last of the density direction and the first in
    sampling, or so many counted from it."""
    interval: GuidanceInterval | None = None
    """Where guidance is left out; not given: it is everywhere in the guided blocks."""

    def guided_of(self, blocks: int) -> int:
        """How many of so many blocks are guided, counted from the deep one."""
        if isinstance(self.blocks, int):
            return self.blocks
        return blocks if self.blocks == "all" else 1

    def problems(self) -> Iterator[Problem]:
        if self.blocks in ("deep", 1) and self.interval is not None and self.interval.meaning.endswith("_blocks"):
            yield Problem(
                ("interval", "meaning"), f"'{self.interval.meaning}' of the one block that is guided", "blocks: all"
            )


class LinearGuidance(GuidanceSpec):
    """Extrapolate shift and log-scale from the null branch: p_g = p_c + g (p_c − p_u) (TARFlow, section 2.5)."""

    kind: Literal["linear"] = "linear"
    what: list[Literal["shift", "log_scale"]] = Field(default=["shift", "log_scale"], min_length=1)
    """Which of shift and log-scale is guided; the other stays the conditional one."""
    space: Literal["log_scale", "scale"] = "log_scale"
    """Whether the rule is on the logarithm of the scale (TARFlow) or on the scale itself (iTARFlow), which turns it
    negative where the null branch's is more than (1 + g) / g times the conditional one."""
    floor: Fraction | None = None
    """The least share of the conditional scale that a rule on the scale leaves: 0.001 keeps it positive. Not given:
    whatever comes out, negative or not, as in iTARFlow's release. How often it matters is recorded with the samples."""
    against: Literal["class", "attention_temperature"] = "class"
    """What the second branch is: the null class, or the same unconditional model with another attention temperature."""
    temperature: Positive = 1.0
    """What the attention logits of the second branch are divided by."""

    @property
    def on_scale(self) -> bool:
        """Whether it guides the scale itself."""
        return self.space == "scale" and "log_scale" in self.what

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.floor is not None and not self.on_scale:
            yield Problem(("floor",), "is of a rule on the scale, and this is none", "space: scale, or remove it")


class GaussianProductGuidance(GuidanceSpec):
    """p ∝ N(μ_c, s_c²)^(1 + w) / N(μ_u, s_u²)^w in each dimension (STARFlow, section 3).

    s_c / s_u counts as 1 where it is more, so that the result is never wider than the conditional Gaussian.
    """

    kind: Literal["gaussian_product"] = "gaussian_product"
    anneal: bool = False
    """Whether the weight rises over a block's predictions. STARFlow's released code has the switch, and no effect of
    it."""
    blocks: GuidedBlocks = "deep"
    """Which blocks are guided: as in STARFlow only the last of the density direction, or all, or so many counted from
    it."""


AnyGuidance = Annotated[LinearGuidance | GaussianProductGuidance, Field(discriminator="kind")]
