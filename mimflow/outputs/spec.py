"""What every output's spec can say, with guidance and denoising."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from mimflow.spec.base import Problem, Spec

if TYPE_CHECKING:
    from mimflow.spec.noise import NoiseLevels
    from mimflow.system.spec import System


class OutputSpec(Spec):
    """Base of the output axis."""

    content: ClassVar[str] = "samples"
    """What it holds, by its name in `CONTENTS`: metrics say what they measure, and each output gets those that fit."""
    reads_data: ClassVar[bool] = False
    """Whether it starts from the images of the run's data set instead of from noise."""

    kind: str
    ema: bool = True
    """Take the averaged weights of the last phase; `false` takes the weights of its last step."""

    def system_problems(self, system: System) -> Iterator[Problem]:
        """Why it can't draw from such a system. Paths are relative to the output."""
        return iter(())

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        """Why it can't draw from a prior that was trained at these noise levels; paths as above."""
        return iter(())
