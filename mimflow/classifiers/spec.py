"""What every classifier's spec can say."""

from __future__ import annotations

from collections.abc import Iterator

from mimflow.spec.base import Problem, Spec
from mimflow.spec.shapes import ImageShape


class ClassifierSpec(Spec):
    """Base of the classifier axis."""

    kind: str

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        """Why this classifier can't take such images."""
        return iter(())

    def multiplications(self, image: ImageShape) -> int:
        """About how many multiplications a pass over an image takes; 0 where the spec does not tell."""
        return 0
