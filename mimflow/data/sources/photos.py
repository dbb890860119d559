"""Crops of the photographs that come inside scikit-image and scikit-learn: there is nothing to download."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
from PIL import Image

from mimflow.data.sources.base import Item, Listing, Source
from mimflow.data.sources.spec import PHOTO_AREA, PhotosSpec
from mimflow.errors import DataError

SKIMAGE, SKLEARN = ("skimage", "data"), ("sklearn", "datasets/images")
"""Packages, and where in them their photographs lie."""

PHOTOGRAPHS = {
    "astronaut": (*SKIMAGE, "astronaut.png"),
    "brick": (*SKIMAGE, "brick.png"),
    "camera": (*SKIMAGE, "camera.png"),
    "cell": (*SKIMAGE, "cell.png"),
    "chelsea": (*SKIMAGE, "chelsea.png"),
    "china": (*SKLEARN, "china.jpg"),
    "coffee": (*SKIMAGE, "coffee.png"),
    "coins": (*SKIMAGE, "coins.png"),
    "flower": (*SKLEARN, "flower.jpg"),
    "grass": (*SKIMAGE, "grass.png"),
    "gravel": (*SKIMAGE, "gravel.png"),
    "hubble": (*SKIMAGE, "hubble_deep_field.jpg"),
    "ihc": (*SKIMAGE, "ihc.png"),
    "moon": (*SKIMAGE, "moon.png"),
    "motorcycle": (*SKIMAGE, "motorcycle_left.png"),
    "retina": (*SKIMAGE, "retina.jpg"),
    "rocket": (*SKIMAGE, "rocket.jpg"),
}
"""By class: package, folder and file. Of the stereo pair one half: the other shows the same pixels, displaced."""


class Photos(Source):
    """Squares on a grid of each photograph: left of a border for training, right of it for validation."""

    in_memory = True

    def __init__(self, spec: PhotosSpec):
        self._spec = spec
        self._photographs = {name: _middle(name) for name in PHOTOGRAPHS}

    def listing(self, by_split: bool) -> Listing:
        if not by_split:
            raise ValueError("crops overlap: DatasetSpec.problems refuses any split but regions")
        border = self._spec.border
        items = tuple(
            Item(f"{name}/{row:03}-{column:03}", label, split)
            for split, first, end in (("train", 0, border), ("val", border, PHOTO_AREA[1]))
            for label, name in enumerate(PHOTOGRAPHS)
            for row, column in self._corners(first, end)
        )
        return Listing(tuple(PHOTOGRAPHS), items)

    def fetch(self, item: Item) -> np.ndarray:
        name, row, column = _place(item)
        crop: np.ndarray = self._photographs[name][row : row + self._spec.crop, column : column + self._spec.crop]
        return crop

    def where(self, item: Item) -> str:
        name, row, column = _place(item)
        return f"photos, {name}, row {row}, column {column} of the part that is used"

    def _corners(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Upper left corners (row, column) of the crops that lie in the columns first … end − 1."""
        crop, stride = self._spec.crop, self._spec.stride
        for row in range(0, PHOTO_AREA[0] - crop + 1, stride):
            for column in range(first, end - crop + 1, stride):
                yield row, column


def _place(item: Item) -> tuple[str, int, int]:
    name, _, corner = item.name.partition("/")
    row, _, column = corner.partition("-")
    return name, int(row), int(column)


def _middle(name: str) -> np.ndarray:
    """The middle of a photograph, uint8 (300, 384, 3); grey ones have three equal channels."""
    package, folder, file = PHOTOGRAPHS[name]
    path = files(package) / folder / file
    if not path.is_file():
        raise DataError(f"{path}: missing: the installed {package} does not carry it (install another version)")
    with path.open("rb") as stream, Image.open(stream) as image:
        pixels = np.asarray(image.convert("RGB"))
    rows, columns = PHOTO_AREA
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    return np.ascontiguousarray(pixels[top : top + rows, left : left + columns])
