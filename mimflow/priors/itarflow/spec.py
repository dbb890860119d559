"""iTARFlow's spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.priors.spec import PriorSpec, Tap, head_problems
from mimflow.spec.arithmetic import transformer_multiplications
from mimflow.spec.base import Count, Positive, Problem
from mimflow.spec.shapes import LatentShape


class ItarflowSpec(PriorSpec):
    """TARFlow's blocks, each told the noise level t of what it sees: one flow for p_t = p_data * N(0, t²).

    iTARFlow (arXiv 2604.20041). Level embeddings are added to every token, beside position and class.
    """

    kind: Literal["itarflow"] = "itarflow"
    width: Count
    """Width of the transformers."""
    blocks: list[Count] = Field(min_length=1)
    """Layers of each block, in the order from data to noise: the deep one last. Odd blocks run backwards."""
    block_widths: list[Count] | None = None
    """Each block's own width, where they differ; not given: `width` for all."""
    block_patches: list[Count] | None = None
    """Side of each block's tokens, in the tokenizer's: 2 takes squares of 2 × 2 of them as one token. Not given: 1 for
    all. So the tokenizer's patch is the smallest in use, and a block's in pixels is a multiple of it: tokens are cut
    anew between blocks that differ."""
    shared_layers: Annotated[int, Field(ge=0)] = 0
    """How many layers one backbone has that every block runs first. They count among `blocks`: a block's own layers
    are the rest, and a block of fewer has the backbone alone. Needs blocks of one width and patch."""
    input_scale: Positive = 1.0
    """What latents are multiplied by before the first block."""
    head_width: Count = 64
    """Width of an attention head; `width / head_width` heads."""
    expansion: Count = 4
    """Hidden width of the MLPs over `width`."""
    class_conditional: bool = True
    """Whether each block adds an embedding of the class; the null class is the mean over the table."""

    @property
    def widths(self) -> list[int]:
        """The width of each block."""
        return self.block_widths or [self.width] * len(self.blocks)

    @property
    def patches(self) -> list[int]:
        """The side of each block's tokens, in the tokenizer's."""
        return self.block_patches or [1] * len(self.blocks)

    @property
    def takes_classes(self) -> bool:
        return self.class_conditional

    @property
    def noise_levels(self) -> bool:
        return True

    @property
    def depths(self) -> list[int]:
        return [max(layers, self.shared_layers) for layers in self.blocks]

    def width_of(self, tap: Tap) -> int:
        return self.widths[tap.block]

    def multiplications(self, latent: LatentShape) -> int:
        return sum(
            transformer_multiplications(width, layers, latent.tokens // patch**2, self.expansion)
            for width, layers, patch in zip(self.widths, self.depths, self.patches, strict=True)
        )

    def problems(self) -> Iterator[Problem]:
        for name, values in (("block_widths", self.block_widths), ("block_patches", self.block_patches)):
            if values is not None and len(values) != len(self.blocks):
                yield Problem((name,), f"{len(values)} values for {len(self.blocks)} blocks", "one for each block")
            elif values is not None and self.shared_layers and len(set(values)) > 1:
                yield Problem((name,), "a shared backbone needs blocks that are alike", "shared_layers: 0")
        for width in sorted(set(self.widths)):
            yield from head_problems(width, self.head_width)

    def latent_problems(self, latent: LatentShape) -> Iterator[Problem]:
        for index, patch in enumerate(self.patches):
            if patch == 1:
                continue
            if latent.grid is None:
                yield Problem(
                    ("block_patches", index), f"patches need a grid, and {latent.tokens} tokens have none", "1"
                )
            elif any(side % patch for side in latent.grid):
                rows, columns = latent.grid
                yield Problem(
                    ("block_patches", index),
                    f"squares of {patch} do not tile a grid of {rows} × {columns} tokens",
                    "a divisor of both",
                )
