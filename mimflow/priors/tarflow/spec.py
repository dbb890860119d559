"""TARFlow's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from mimflow.priors.spec import PriorSpec, Tap, head_problems
from mimflow.spec.arithmetic import transformer_multiplications
from mimflow.spec.base import Count, Problem
from mimflow.spec.shapes import LatentShape


class TarflowSpec(PriorSpec):
    """A stack of autoregressive affine blocks, each a causal transformer, on alternating token orders.

    TARFlow (arXiv 2412.06329), section 2; `volume_preserving` is its NVP ablation's opposite: shifts only.
    """

    kind: Literal["tarflow"] = "tarflow"
    width: Count
    """Width of the transformers."""
    blocks: list[Count] = Field(min_length=1)
    """Layers of each block, in the order from data to noise."""
    head_width: Count = 64
    """Width of an attention head; `width / head_width` heads."""
    expansion: Count = 4
    """Hidden width of the MLPs over `width`."""
    class_conditional: bool = True
    """Whether each block adds an embedding of the class; the null class is the mean over the table."""
    volume_preserving: bool = False
    """Whether blocks predict shifts only: the log-determinant is 0, and the noise has a learned variance per
    dimension."""

    @property
    def takes_classes(self) -> bool:
        return self.class_conditional

    @property
    def depths(self) -> list[int]:
        return self.blocks

    def width_of(self, tap: Tap) -> int:
        return self.width

    def multiplications(self, latent: LatentShape) -> int:
        return transformer_multiplications(self.width, sum(self.blocks), latent.tokens, self.expansion)

    def problems(self) -> Iterator[Problem]:
        yield from head_problems(self.width, self.head_width)
