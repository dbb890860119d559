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
    """The encoder's tokens before they are projected to the latents' channels (MIMFlow), or the latents."""


class PriorPlace(Spec):
    """The output of one layer of the prior over clean latents without a class, averaged over tokens."""

    kind: Literal["prior"] = "prior"
    tap: Tap


class RepresentationSpec(OutputSpec):
    """Features of every image of both splits, one unchanged view each, without mask and noise: what a probe reads."""

    content: ClassVar[str] = "representation"
    reads_data: ClassVar[bool] = True

    kind: Literal["representation"] = "representation"
    where: Annotated[TokenizerPlace | PriorPlace, Field(discriminator="kind")] = TokenizerPlace()

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
