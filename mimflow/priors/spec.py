"""What every prior's spec can say."""

from __future__ import annotations

from collections.abc import Iterator

from mimflow.spec.base import Problem, Spec
from mimflow.spec.shapes import LatentShape


class PriorSpec(Spec):
    """Base of the prior axis."""

    kind: str

    @property
    def takes_classes(self) -> bool:
        """Whether it models each class, and not only the data as a whole."""
        return True

    def latent_problems(self, latent: LatentShape) -> Iterator[Problem]:
        """Why this prior can't model such latents."""
        return iter(())
