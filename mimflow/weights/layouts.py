"""What is said of public state dicts that do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from mimflow.errors import ArtifactError
from mimflow.spec.base import Problem

LISTED = 4
"""Names that an error lists of each sort."""


def require(layout: str, public: Mapping[str, Tensor], names: Iterable[str]) -> list[Tensor]:
    """The tensors of these names, without which nothing can be read off; ArtifactError if one is missing."""
    missing = [name for name in names if name not in public]
    if missing:
        raise ArtifactError(f"not an {layout} checkpoint: {'; '.join(_listing('missing', missing))}")
    return [public[name] for name in names]


def refuse(layout: str, problems: Iterable[Problem]) -> None:
    """ArtifactError for the first problem of a spec that was read off the tensors."""
    for problem in problems:
        raise ArtifactError(f"not an {layout} checkpoint: {problem.message}")


def require_shapes(layout: str, public: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Require of a public state exactly the tensors of `shapes`, which are theirs, by their names.

    ArtifactError names missing, unexpected and mis-shaped tensors.
    """
    misshaped = [
        f"{name} is {tuple(public[name].shape)} where {shape} fits"
        for name, shape in shapes.items()
        if name in public and tuple(public[name].shape) != shape
    ]
    faults = [
        *_listing("missing", [name for name in shapes if name not in public]),
        *_listing("unexpected", [name for name in public if name not in shapes]),
        *_listing("mis-shaped", misshaped),
    ]
    if faults:
        raise ArtifactError(f"{layout} checkpoint does not fit: {'; '.join(faults)}")


def _listing(title: str, items: list[str]) -> list[str]:
    """`title: a, b, c, d and 7 more`, or nothing."""
    if not items:
        return []
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return [f"{title} {', '.join(items[:LISTED])}{more}"]
