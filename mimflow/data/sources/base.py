"""What a source of images does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mimflow.errors import DataError

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val")
PIXELS = 89_478_485
"""Pixels that an image may have where a spec says nothing else: Pillow's own limit, 268 MB of RGB."""


class BadImageError(DataError):
    """An image that can't be read or cut. Says why; whoever catches it knows which image it was."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source, not yet read."""

    name: str
    """Names it within the source: a path relative to the folder, with `/`, or a number."""
    label: int
    split: str | None = None
    """`train` or `val` where the source itself is split."""
    size: int = 0
    """Of its file, in bytes."""
    changed: int = 0
    """When its file last changed, in nanoseconds of Unix time."""


@dataclass(frozen=True)
class Listing:
    """What a source holds: the names of its classes, by label, and its images in a fixed order."""

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files that are no images to the source, counted by ending."""


class Source(ABC):
    """Where images and labels come from. Built as `SOURCES.build(spec)`; can be sent to other processes."""

    in_memory: bool = False
    """It holds its images already: there is nothing for other processes to do."""
    skips_bad: bool = False
    """An image that can't be read is left out instead of stopping the preparation."""
    max_pixels: int = PIXELS
    """An image of more is one that can't be read."""

    @abstractmethod
    def listing(self, by_split: bool) -> Listing:
        """Its classes and images; `by_split`: in its own train and val. DataError for a fault in them."""

    @abstractmethod
    def fetch(self, item: Item) -> bytes | np.ndarray:
        """An image as the bytes of its file, or as uint8 (H, W) or (H, W, 3). BadImageError if it can't be had."""

    @abstractmethod
    def where(self, item: Item) -> str:
        """What to call an image in a message: the path of its file, where it has one."""
