"""What is known of a number before it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["lower", "higher"]
"""Which end of a number is better."""


@dataclass(frozen=True)
class Number:
    """One number that a metric reports: how tables call, print and judge it unless a column says otherwise."""

    name: str
    """`fid`: what files, columns and published values call it."""
    label: str
    """`FID`: what a heading calls it."""
    sentence: str
    """What it is, for people who trace it back."""
    digits: int = 2
    """Digits after the point."""
    direction: Direction | None = None
    """Which end tables set in bold; None where no end is better."""
    unit: str = ""
    with_count: bool = False
    """Whether the literature names it with the number of images that it is computed from: FID-50k."""
    called: Mapping[str, str] = field(default_factory=dict)
    """What it is called instead of its label, by the content that it measures: rFID of reconstructions."""

    def label_of(self, content: str) -> str:
        """`FID`; of reconstructions `rFID`."""
        return self.called.get(content, self.label)


@dataclass(frozen=True)
class CurveNumber:
    """A function that a metric finds besides its numbers: kept for figures, not shown in tables."""

    name: str
    """What files call it."""
    label: str
    """What an axis calls its values."""
    of: str
    """What an axis calls its places, with their unit: `frequency in cycles a token`."""
