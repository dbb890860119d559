"""The spec of representations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.outputs.spec import OutputSpec
from mimflow.priors.spec import Tap
from mimflow.spec.base import Problem, Spec

if TYPE_CHECKING:
    from mimflow.system.spec import System


class TokenizerPlace(Spec):
    """A place in the tokenizer, averaged over tokens: (F,) an image."""

    kind: Literal["tokenizer"] = "tokenizer"
    what: Literal["before_projection", "latents"] = "before_projection"
    """Which features are taken: the encoder's tokens before they are projected to the latents' channels (MIMFlow), or
    the latents."""


class EncoderPlace(Spec):
    """The latents' tokens after one layer of the tokenizer's encoder, before any norm, averaged over them: (F,) an
    image.
    """

    kind: Literal["encoder"] = "encoder"
    layer: Annotated[int, Field(ge=0)]
    """The layer, counted from 0."""


class PriorPlace(Spec):
    """The output of one layer of the prior over clean latents without a class, averaged over tokens."""

    kind: Literal["prior"] = "prior"
    tap: Tap


class RepresentationSpec(OutputSpec):
    """Features of every image of both splits, one unchanged view each, without mask and noise: what a probe reads."""

    content: ClassVar[str] = "representation"
    reads_data: ClassVar[bool] = True

    kind: Literal["representation"] = "representation"
    where: Annotated[TokenizerPlace | EncoderPlace | PriorPlace, Field(discriminator="kind")] = TokenizerPlace()
    """Where in the system features are taken."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.tokenizer is None:
            yield Problem(("kind",), "a system without a tokenizer represents nothing", "add a tokenizer, or remove it")
        elif isinstance(self.where, TokenizerPlace):
            known = system.tokenizer.representations
            if self.where.what not in known:
                yield Problem(
                    ("where", "what"),
                    f"tokenizer '{system.tokenizer.kind}' has no representation '{self.where.what}'",
                    f"it has: {', '.join(known)}",
                )
        elif isinstance(self.where, EncoderPlace):
            layers = system.tokenizer.encoder_layers
            if self.where.layer >= layers:
                yield Problem(
                    ("where", "layer"),
                    f"there is no layer {self.where.layer} among the {layers} of the tokenizer's encoder",
                    "layers count from 0" if layers else "where: {kind: tokenizer}",
                )
        elif system.prior is None:
            yield Problem(("where",), "the system has no prior to look into", "where: {kind: tokenizer}")
        elif not system.prior.flow or system.prior.noise_levels:
            yield Problem(
                ("where",),
                f"prior '{system.prior.kind}' sees latents at a time or noise level, and a representation has none",
                "where: {kind: tokenizer}",
            )
        else:
            for problem in system.prior.tap_problems(self.where.tap):
                yield problem.within("where", "tap")
