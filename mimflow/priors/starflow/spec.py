"""The spec of the STARFlow family: STARFlow itself, and the flows of SimFlow and MIMFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.priors.spec import PriorSpec, Tap, head_problems
from mimflow.spec.arithmetic import transformer_multiplications
from mimflow.spec.base import Count, Positive, Problem
from mimflow.spec.shapes import LatentShape

SPARE_PAIRS = 8
"""Of the third rotary axis, that of text and frames: as many at every width of head (STARFlow's code)."""


class StarflowSpec(PriorSpec):
    """Autoregressive affine blocks on alternating token orders, the last of them deep.

    STARFlow (arXiv 2506.06276), SimFlow (2512.04084) and MIMFlow (2606.26016). The defaults are TARFlow's block, which
    MIMFlow's count comes nearest to: its own block is not public (its 482 M are not reached by any known variant).
    """

    kind: Literal["starflow"] = "starflow"
    width: Count
    """Width of the transformers."""
    blocks: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """Layers of each block, in the order from data to noise: the deep one last. A block of 0 layers is left out."""
    head_width: Count = 64
    """Width of an attention head; `width / head_width` heads. SimFlow-XL: 72."""
    expansion: Count = 4
    """Hidden width of the MLPs over `width`."""
    order: Literal["forward", "reverse"] = "forward"
    """Direction of the first block along the raster; the others alternate. STARFlow's six blocks start in reverse, so
    that the deep one runs forward (its `L2R`). SimFlow's and MIMFlow's are unknown: TARFlow starts forward."""
    position: Literal["learned", "rotary_2d"] = "learned"
    """How positions are told: by a learned vector for each place in each block, or by rotary embeddings of row and
    column in every layer (STARFlow), for latents on a grid. As in STARFlow's code these are of the place in a block's
    order, so that a reversed block counts from its own first token; and where there is a prefix, 8 pairs of each head
    are left unturned in all blocks."""
    rotary_side: Positive | None = None
    """The side that rotary positions are scaled to: rows and columns are counted in steps of side / √tokens, so that a
    finer grid spans what a grid of this side did (STARFlow's `pt_seq_len`, the side of the training grid). Not given:
    in steps of 1."""
    start: Literal["shift", "sos"] = "shift"
    """Whether the first token passes unchanged (TARFlow), or is predicted from a learned start token (STARFlow).
    SimFlow's is unknown; TARFlow, which it builds on, shifts."""
    scale: Literal["exp", "softplus"] = "exp"
    """How output a becomes the scale: by exp(a), or by softplus(a + ln(e − 1)), which is 1 at 0 too (STARFlow)."""
    soft_clip: Positive | None = None
    """The bound c of c tanh(o / c), which is taken of the outputs o that give shift and scale; STARFlow: 4. Not given:
    they are not bounded."""
    norm: Literal["layer", "rms"] = "layer"
    """Normalisation before attention and MLP."""
    final_norm: bool = False
    """Whether an RMS norm stands before the outputs (STARFlow). `ada_ln_zero` has a modulated norm there already."""
    conditioning: Literal["none", "embedding", "ada_ln_zero", "prefix"] = "embedding"
    """How a block sees the class: not at all; by a vector added to every token, whose null class is the table's mean
    (TARFlow); by modulated norms and gates that start at zero, with a null row and a table in each block (SimFlow,
    after DiT); or as a learned token before the others, with a null row (STARFlow)."""
    prefix_blocks: Literal["deep", "all"] = "deep"
    """Which blocks see the token of `conditioning: prefix`: the deep one only (STARFlow, its `cond_top_only`), or all,
    each with a table of its own."""
    gated_attention: bool = False
    """Whether what attention found is multiplied by sigmoid(W h) before its output projection, W being width × width
    (Qiu et al., 2025, arXiv 2505.06708): a candidate for MIMFlow's unpublished block. It takes MIMFlow-L from 439.1 M
    to 474.7 M of the 482 M that are claimed."""

    @property
    def takes_classes(self) -> bool:
        return self.conditioning != "none"

    @property
    def depths(self) -> list[int]:
        return self.blocks

    @property
    def rotary_spare(self) -> int:
        """Pairs of each head that rotary positions of image tokens leave alone.

        The released code has one split for all blocks, those too that see no prefix.
        """
        return SPARE_PAIRS if self.conditioning == "prefix" else 0

    def width_of(self, tap: Tap) -> int:
        return self.width

    def multiplications(self, latent: LatentShape) -> int:
        return transformer_multiplications(self.width, sum(self.blocks), latent.tokens, self.expansion)

    def problems(self) -> Iterator[Problem]:
        yield from head_problems(self.width, self.head_width)
        if self.blocks[-1] == 0:
            yield Problem(
                ("blocks", len(self.blocks) - 1), "the last block is the deep one, and has no layers", "give it some"
            )
        spare = 2 * self.rotary_spare
        if self.position == "rotary_2d" and (self.head_width % 4 or self.head_width <= spare):
            yield Problem(
                ("head_width",),
                f"heads of {self.head_width} do not split into pairs for rows and columns",
                f"a multiple of 4 above {spare}" if spare else "a multiple of 4",
            )
        if self.rotary_side is not None and self.position != "rotary_2d":
            yield Problem(("rotary_side",), "is of rotary positions, and these are learned", "position: rotary_2d")
        if self.prefix_blocks == "all" and self.conditioning != "prefix":
            yield Problem(("prefix_blocks",), "is of a prefix, and there is none", "conditioning: prefix")
        if self.conditioning == "ada_ln_zero" and self.final_norm:
            yield Problem(("final_norm",), "ada_ln_zero has a final norm of its own", "final_norm: false")

    def latent_problems(self, latent: LatentShape) -> Iterator[Problem]:
        if self.position == "rotary_2d" and latent.grid is None:
            yield Problem(
                ("position",), f"rotary_2d needs a grid, and {latent.tokens} tokens have none", "position: learned"
            )
