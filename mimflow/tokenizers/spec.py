"""What every tokenizer's spec can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mimflow.spec.base import Problem, Spec
from mimflow.spec.shapes import ImageShape, LatentShape


class TokenizerSpec(Spec):
    """Base of the tokenizer axis."""

    kind: str

    representations: ClassVar[tuple[str, ...]] = ("latents",)
    """Where `Tokenizer.representation` can take features for a probe."""
    trainable: ClassVar[bool] = True
    """Whether it has networks: an encoder and a decoder to train."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Modules below it whose weights can be taken alone: `tokenizer.encoder`."""

    grey_levels: ClassVar[bool] = False
    """Whether its latents are pixels of 256 levels in [−1, 1]."""
    stores_latents: ClassVar[bool] = False
    """Whether all that training sees of an image follows from a mean and a spread, which can be stored."""

    @property
    def masks(self) -> bool:
        """Whether it hides parts of an image where training asks for it."""
        return False

    @property
    def learns_variance(self) -> bool:
        """Whether its encoder gives a posterior with a variance of its own."""
        return False

    @property
    def samples(self) -> bool:
        """Whether what training sees of an image is a random draw, where `encode` gives its mean."""
        return False

    @property
    def encoder_layers(self) -> int:
        """The layers of its encoder that `Tokenizer.hidden` can look into."""
        return 0

    @property
    def has_given_weights(self) -> bool:
        """Whether the spec names weights to start from."""
        return False

    @property
    def measures_scale(self) -> bool:
        """Whether a phase of objective `latent_scale` sets the scale of its latents."""
        return False

    def image_problems(self, image: ImageShape) -> Iterator[Problem]:
        """Why this tokenizer can't take such images; `latent_shape` is asked only when there is no reason."""
        return iter(())

    def latent_shape(self, image: ImageShape) -> LatentShape:
        """The latents that it makes of such images."""
        raise NotImplementedError

    def multiplications(self, image: ImageShape) -> int:
        """About how many multiplications encoding and decoding an image take; 0 where there are no networks."""
        return 0

    def patch_grid(self, image: ImageShape) -> int | None:
        """Patches that a side of the image is cut into; None where it is not cut."""
        return None


def patch_problems(patch_size: int, image: ImageShape) -> Iterator[Problem]:
    """Why squares of `patch_size` pixels do not tile an image."""
    if image.size % patch_size:
        divisors = [n for n in range(1, image.size + 1) if image.size % n == 0]
        nearest = min(divisors, key=lambda n: abs(n - patch_size))
        yield Problem(
            ("patch_size",),
            f"{patch_size} does not divide the image's {image.size} pixels",
            f"nearest that does: {nearest}",
        )
