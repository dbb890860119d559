"""What every output's spec can say, with guidance and denoising."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from mimflow.spec.base import Problem, Spec

if TYPE_CHECKING:
    from mimflow.spec.noise import NoiseLevels
    from mimflow.system.spec import System


Subject = Literal["samples", "reconstructions", "representation"]
"""What a output gives and a metric measures: images of a prior, images of a split encoded and decoded again, or
features of images."""


class OutputSpec(Spec):
    """Base of the output axis."""

    subject: ClassVar[Subject] = "samples"
    """What it gives: metrics say what they measure, and each output gets those that fit."""

    kind: str
    ema: bool = True
    """Take the averaged weights of the last phase; `false` takes the weights of its last step."""

    @property
    def reads_data(self) -> bool:
        """Whether it starts from the images of the run's data set instead of from noise."""
        return self.subject != "samples"

    def system_problems(self, system: System) -> Iterator[Problem]:
        """Why it can't draw from such a system. Paths are relative to the output."""
        return iter(())

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        """Why it can't draw from a prior that was trained at these noise levels; paths as above."""
        return iter(())
