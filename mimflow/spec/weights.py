"""Weights are references: another run's, an earlier phase's, or a file's.

What a reference names enters the key by the key of the job, or by the digest of the file, not by the name.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from mimflow.spec.base import OUTSIDE_KEY, Name, Sha256, Spec


class RunWeights(Spec):
    """Weights that a run of this project trained."""

    run: Annotated[Name | None, OUTSIDE_KEY] = None
    """The run whose weights are taken; not given: this one."""
    phase: Annotated[Name | None, OUTSIDE_KEY] = None
    """The phase whose weights are taken; not given: the last."""
    seed: Annotated[int | None, OUTSIDE_KEY] = None
    """The seed whose weights are taken; not given: the same for this run, the first of another's."""
    ema: bool = False
    """Whether the averaged weights are taken instead of the last step's."""
    modules: list[str] | None = None
    """Which modules to take; not given: all that both sides have."""


class FileWeights(Spec):
    """Weights in a file that the user brings, or that `mimflow import-checkpoint` made."""

    file: Annotated[str, OUTSIDE_KEY] = Field(min_length=1)
    """Path of the file, relative to the project."""
    sha256: Sha256
    """SHA-256 of the file: one with another digest is refused."""
    modules: list[str] | None = None
    """Which modules to take; not given: all that both sides have."""


def _kind(value: Any) -> str:
    return "file" if (isinstance(value, dict) and "file" in value) or isinstance(value, FileWeights) else "run"


Weights = Annotated[Annotated[RunWeights, Tag("run")] | Annotated[FileWeights, Tag("file")], Discriminator(_kind)]
