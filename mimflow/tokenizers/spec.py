"""What every tokenizer's spec can say."""

from __future__ import annotations

from collections.abc import Iterator

from mimflow.spec.base import Problem, Spec
from mimflow.spec.shapes import ImageShape, LatentShape


class TokenizerSpec(Spec):
    """Base of the tokenizer axis."""

    kind: str

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        """Why this tokenizer can't take such images; `latent_shape` is asked only when there is no reason."""
        return iter(())

    def latent_shape(self, image: ImageShape) -> LatentShape:
        """The latents that it makes of such images."""
        raise NotImplementedError
