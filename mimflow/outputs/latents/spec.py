"""The spec of latents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mimflow.outputs.inverse.spec import InverseSpec
from mimflow.outputs.spec import OutputSpec
from mimflow.outputs.velocity.spec import OdeSpec, SdeSpec
from mimflow.spec.base import Problem, Spec
from mimflow.spec.noise import LatentNoise, NoiseLevels, NoNoise

if TYPE_CHECKING:
    from mimflow.system.spec import System


class DataLatents(Spec):
    """Latents of every image of a split, in its order."""

    kind: Literal["data"] = "data"
    split: Literal["train", "val"] = "val"
    """The split whose images are encoded."""
    noise: LatentNoise = NoNoise()
    """Noise on the latents, drawn once an image: that of the training, or none."""
    masked: bool = False
    """Whether the tokenizer hides of the images what its spec says."""
    posterior: Literal["mean", "sample"] = "mean"
    """What is taken of an encoder that gives a distribution: its mean, or the draw that training sees."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        """Why a system has no such latents."""
        if system.tokenizer is None:
            return
        if self.masked and not system.tokenizer.masks:
            yield Problem(("masked",), "this tokenizer masks nothing", "false, or a masked_ae with a mask")
        if self.posterior == "sample" and not system.tokenizer.samples:
            yield Problem(("posterior",), "this tokenizer's latents are no draws", "mean")


class PriorLatents(Spec):
    """Latents that a sampler draws from the prior, undecoded: as many and of the same classes as samples."""

    kind: Literal["prior"] = "prior"
    sampler: Annotated[InverseSpec | OdeSpec | SdeSpec, Field(discriminator="kind")]
    """How they are drawn: what could be an output of its own; whose samples these would be is drawn, to the bit."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        """Why a system has no such latents."""
        for problem in self.sampler.system_problems(system):
            yield problem.within("sampler")
        if not self.sampler.ema:
            yield Problem(("sampler", "ema"), "the output says which weights are taken", "ema: false beside `of`")
        if self.sampler.on_nonfinite != "stop":
            yield Problem(("sampler", "on_nonfinite"), "latents are not drawn anew", "stop")


class LatentsSpec(OutputSpec):
    """Latents before they are decoded, of the data or of the prior: what spectra and autocorrelations are measured on.

    They are kept as float32, (N, C, H, W) where the tokens have a grid and (N, T, D) where they have none.
    """

    content: ClassVar[str] = "latents"
    reads_data: ClassVar[bool] = True

    kind: Literal["latents"] = "latents"
    of: Annotated[DataLatents | PriorLatents, Field(discriminator="kind")] = DataLatents()
    """Whose latents they are."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        if system.tokenizer is None:
            yield Problem(("kind",), "a system without a tokenizer has no latents", "add a tokenizer, or remove it")
            return
        for problem in self.of.system_problems(system):
            yield problem.within("of")

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        if isinstance(self.of, PriorLatents):
            for problem in self.of.sampler.level_problems(levels):
                yield problem.within("of", "sampler")
