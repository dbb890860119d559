"""The spec of a figure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mimflow.products.figure.drawing import DrawingSpec
from mimflow.products.figure.registry import DRAWINGS
from mimflow.products.table.spec import Row
from mimflow.project.kinds import ProductSpec
from mimflow.spec.base import Name, Problem, repeated


class FigureSpec(ProductSpec):
    """A figure: runs, and what is drawn of them."""

    protocol: Name | None = None
    """A protocol of `specs/protocols`: that of every number which names none of its own. Training curves need none."""
    rows: list[Row] = Field(min_length=1)
    """What is drawn: runs, every run of an ablation, or samples that were made elsewhere."""
    draw: Annotated[DrawingSpec, DRAWINGS]
    """How it is drawn: `{kind: curve, x: {field: prior.width}, y: [unguided.fid]}`."""
    seeds: list[int] | None = None
    """Instead of each run's own seeds."""
    width: Literal["column", "page"] = "column"
    """How wide it is: 3.3 inches, a column of a two-column page, or 6.9, both of them."""

    @property
    def protocols(self) -> list[str]:
        """The protocols of its numbers, in order; its own where it draws none."""
        own = [self.protocol] if self.protocol is not None else []
        asked = [value.protocol or self.protocol for _, value in self.draw.asked]
        return list(dict.fromkeys(name for name in asked if name is not None)) or own

    def problems(self) -> Iterator[Problem]:
        if self.seeds == []:
            yield Problem(("seeds",), "empty", "leave it out for each run's own")
        yield from repeated("seeds", self.seeds, "seed")
        if self.draw.needs_protocol and self.protocol is None:
            yield Problem(
                ("protocol",), f"missing, and '{self.draw.kind}' draws what one asks for", "a protocol's name"
            )
        for place, row in enumerate(self.rows):
            if row.samples is not None and not self.draw.samples:
                yield Problem(
                    ("rows", place, "samples"),
                    f"'{self.draw.kind}' draws what runs are known by",
                    "a run or an ablation",
                )
        seen = set()
        for path, value in self.draw.asked:
            key = (value.output, value.metric, value.protocol or self.protocol)
            if key in seen:
                yield Problem(("draw", *path), f"'{value.name}' twice", "each once")
            seen.add(key)
