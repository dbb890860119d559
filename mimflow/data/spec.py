"""The specs of data sets: source, transform, split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from mimflow.data.registry import SOURCES
from mimflow.data.sources.spec import SourceSpec
from mimflow.spec.base import OUTSIDE_KEY, Count, Problem, Spec
from mimflow.spec.shapes import ImageShape


class Transform(Spec):
    """How an image is read, and becomes a square of `size` pixels."""

    size: Annotated[int, Field(ge=1, le=32_768)]
    """Side in pixels of the square that an image becomes."""
    method: Literal["none", "pad", "bilinear", "adm"] = "none"
    """How an image is brought to the size. `none`: it already has it; `pad`: black is put around it; `bilinear`:
    TARFlow's resize of the short side and centre crop; `adm`: guided-diffusion's box and bicubic centre crop."""
    orientation: Literal["upright", "stored"] = "upright"
    """Whether a photograph is turned as its EXIF data say, or left as it is stored, as the loaders of all public code
    here leave it."""
    transparency: Literal["white", "drop"] = "white"
    """Whether an image with transparency is laid on white, or loses it, as with the same loaders: whatever colour is
    stored where nothing is to be seen then shows."""


class StratifiedSplit(Spec):
    """Take the same share of every class for validation, by a seeded permutation."""

    kind: Literal["stratified"] = "stratified"
    val: Count
    """How many images are for validation, all classes together; a class gives its share of them."""
    seed: int = 0


class FolderSplit(Spec):
    """The source's own `train` and `val` folders."""

    kind: Literal["folders"] = "folders"


class RegionSplit(Spec):
    """The source's own regions of each photograph."""

    kind: Literal["regions"] = "regions"


SplitRule = Annotated[StratifiedSplit | FolderSplit | RegionSplit, Field(discriminator="kind")]


class DatasetSpec(Spec):
    """Labelled images: source, transform and split."""

    label: Annotated[str, OUTSIDE_KEY] = ""
    """The name of the data set in tables."""
    source: Annotated[SourceSpec, SOURCES]
    """Where the images come from."""
    transform: Transform
    """How each image becomes a square."""
    split: SplitRule
    """How images are divided between training and validation."""
    channels: Literal[1, 3]
    """Channels of an image: 1 for grey, 3 for RGB."""
    num_classes: Count
    """How many classes the images have; checked against the source when it is prepared."""
    workers: Annotated[Count | None, OUTSIDE_KEY] = None
    """Processes that prepare the data set; all cores if not given."""

    @property
    def image(self) -> ImageShape:
        return ImageShape(self.channels, self.transform.size)

    @property
    def split_images(self) -> Mapping[str, int]:
        """How many images each split has, where that is known before anything is read."""
        known = self.source.known
        if not isinstance(self.split, StratifiedSplit):
            return self.source.split_images
        if known is None or known.images is None:
            return {"val": self.split.val}
        return {"train": known.images - self.split.val, "val": self.split.val}

    def problems(self) -> Iterator[Problem]:
        if self.split.kind not in self.source.splits:
            reasons = {
                "folders": f"source '{self.source.kind}' has no train and val folders",
                "regions": f"source '{self.source.kind}' has no regions",
                "stratified": f"images of source '{self.source.kind}' overlap",
            }
            yield Problem(("split", "kind"), reasons[self.split.kind], f"use {self.source.splits[0]}")
        known = self.source.known
        if known is None:
            return
        if self.num_classes != known.classes:
            yield Problem(
                ("num_classes",),
                f"{self.num_classes}, but '{self.source.kind}' has {known.classes}",
                f"{known.classes}",
            )
        if isinstance(self.split, StratifiedSplit) and known.images is not None and self.split.val >= known.images:
            yield Problem(
                ("split", "val"), f"{self.split.val} of {known.images} images leave none to train on", "fewer"
            )
        if self.transform.method == "none" and self.transform.size != known.size:
            yield Problem(
                ("transform", "size"),
                f"{self.transform.size}, but images of '{self.source.kind}' have {known.size} pixels a side",
                "name a method: pad, bilinear",
            )


class Augment(Spec):
    """Random changes of each training image, drawn anew at every step."""

    flip: bool = False
    """Mirror left and right half of the time."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Move the image by up to so many pixels each way; what comes in has the edge's colour."""
