"""What every prior's spec can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.spec.base import Problem, Spec
from mimflow.spec.noise import LawOfT, UniformLaw
from mimflow.spec.shapes import LatentShape


class Tap(Spec):
    """Which hidden states of a prior are asked for: the output of one transformer layer of one block.

    Both count from 0; blocks in the density direction, as in the prior's `blocks`, those without layers included.
    """

    block: Annotated[int, Field(ge=0)]
    """The block, counted from 0 in the density direction."""
    layer: Annotated[int, Field(ge=0)]
    """The layer within the block, counted from 0."""


class PriorSpec(Spec):
    """Base of the prior axis."""

    kind: str

    flow: ClassVar[bool] = True
    """Whether it is an invertible map with a density; otherwise it is a velocity that is integrated."""

    closed_form: ClassVar[bool] = False
    """Whether it is fitted by one pass over the data, and has no parameters to train by steps."""

    @property
    def takes_classes(self) -> bool:
        """Whether it models each class, and not only the data as a whole."""
        return True

    @property
    def noise_levels(self) -> bool:
        """Whether its density is one of a noise level, which training and sampling have to name."""
        return False

    @property
    def depths(self) -> list[int]:
        """The layers of each block that a `Tap` can name, in the density direction; empty without such blocks."""
        return []

    def width_of(self, tap: Tap) -> int:
        """The width of the hidden states that `tap` asks for. Only of a prior that has `depths`."""
        raise NotImplementedError

    def hidden_tokens(self, latent: LatentShape) -> int:
        """How many hidden states a `Tap` gives for such latents: one a token unless it reads patches of them."""
        return latent.tokens

    def tap_problems(self, tap: Tap) -> Iterator[Problem]:
        """Why there are no such hidden states; paths relative to the tap."""
        if not self.depths:
            yield Problem((), f"the prior '{self.kind}' has no layers", "tap a transformer")
        elif tap.block >= len(self.depths):
            yield Problem(("block",), f"there is no block {tap.block} among {len(self.depths)}", "blocks count from 0")
        elif tap.layer >= self.depths[tap.block]:
            yield Problem(
                ("layer",),
                f"there is no layer {tap.layer} among the {self.depths[tap.block]} of block {tap.block}",
                "layers count from 0",
            )

    def multiplications(self, latent: LatentShape) -> int:
        """About how many multiplications a pass over an image's latents takes; 0 where there are no networks."""
        return 0

    def latent_problems(self, latent: LatentShape) -> Iterator[Problem]:
        """Why this prior can't model such latents."""
        return iter(())


class VelocityPriorSpec(PriorSpec):
    """What every velocity model's spec can say. Time runs from noise at t = 0 to data at t = 1, as in SiT."""

    path: Literal["linear", "gvp"] = "linear"
    """The path from noise x₀ to data x₁: x_t = α x₁ + σ x₀ with α = t, σ = 1 − t, or α = sin(πt/2), σ = cos(πt/2)."""
    t: LawOfT = UniformLaw()
    """The law of t in training. SiT's is uniform."""
    detach_target: bool = False
    """Whether the gradient is held back that reaches the latents through the velocity that is aimed at. Trained
    jointly, the loss falls where latents shrink; SimFlow's Table 7 does not say what it holds back, and its flows hold
    back nothing."""
    detach_input: bool = False
    """Whether the gradient is held back that reaches the latents through what the network reads. With both, no gradient
    of this prior reaches the encoder: that is REPA-E's diffusion loss."""

    flow = False


def head_problems(width: int, head_width: int) -> Iterator[Problem]:
    """Why heads of `head_width` do not make up a transformer of `width`."""
    if width % head_width:
        yield Problem(
            ("head_width",), f"heads of {head_width} do not divide the width {width}", f"choose a divisor of {width}"
        )
