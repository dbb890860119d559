"""What every output's spec can say, with guidance and denoising."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from mimflow.spec.base import IN_KEY_IF_SET, Fraction, Problem, Spec

if TYPE_CHECKING:
    from mimflow.objectives.spec import ObjectiveSpec
    from mimflow.spec.noise import NoiseLevels
    from mimflow.system.spec import System


class OutputSpec(Spec):
    """Base of the output axis."""

    content: ClassVar[str] = "samples"
    """What it holds, by its name in `CONTENTS`: metrics say what they measure, and each output gets those that fit."""
    reads_data: ClassVar[bool] = False
    """Whether it starts from the images of the run's data set instead of from noise."""
    title: ClassVar[str] = ""
    """What stands above its columns in tables, where that does not follow from what it holds."""

    kind: str
    ema: bool = True
    """Take the averaged weights of the last phase; `false` takes the weights of its last step."""
    snapshot: Annotated[Fraction | None, IN_KEY_IF_SET] = None
    """Take the weights that the last phase had at this share of its steps, one of its `snapshots`: averaged ones where
    it keeps any. Not given: those of its end."""

    @property
    def prior_passes(self) -> int:
        """How many passes through the prior an image takes, a gradient counting as two more; 0 without a prior."""
        return 0

    def system_problems(self, system: System) -> Iterator[Problem]:
        """Why it can't draw from such a system. Paths are relative to the output."""
        return iter(())

    def objective_problems(self, objective: ObjectiveSpec | None) -> Iterator[Problem]:
        """Why it can't be made with a prior that this objective trained; None where no phase did. Paths as above."""
        return iter(())

    def resolved(self, objective: ObjectiveSpec | None) -> OutputSpec:
        """With what follows from the objective that trained the prior filled in, where it is left to follow."""
        return self

    def noise_warnings(self, std: float) -> Iterator[Problem]:
        """What is odd about it for a prior that was trained with noise of this standard deviation on its latents."""
        return iter(())

    def level_problems(self, levels: NoiseLevels | None) -> Iterator[Problem]:
        """Why it can't draw from a prior that was trained at these noise levels; paths as above."""
        return iter(())


class SamplerSpec(OutputSpec):
    """What every output that draws from a prior can say."""

    on_nonfinite: Literal["stop", "redraw"] = "stop"
    """What becomes of samples that are NaN or infinite. `stop`: the job ends and says so. `redraw`: each is drawn anew,
    ten times at most, and their number stands in the manifest and under tables. TARFlow's and iTARFlow's releases draw
    the whole batch anew."""
